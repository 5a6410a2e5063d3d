"""GroupNorm between two convolutions on the GPU, fused with the time embedding before it and SiLU after it.

A program processes a slab: a few whole groups of channels and a segment of pixels. The first pass sums the slab, the
second scales and shifts it, reading it from cache: on an Orin, 1024 pixels of 40 channels are 80 KB, and the slabs of
all 16 multiprocessors fit into 4 MB of L2. A video is too long for that: one launch sums its segments, and a second
one normalizes them, using the sums of all segments.

Sums are taken over differences to the channel's first pixel, which removes most of the mean before squaring.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import ORIN, Launch, Tile, ceil_div, power_of_two, strides_of
from vpp_edge.kernels.rounding import cast_output
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

SEGMENT = 1024
"""Pixels per program."""

MIN_CHANNELS = 32
"""Minimum channels per slab: 64 bytes of a pixel, two memory sectors."""


def tile_for(channels: int) -> Tile:
    """Pixels and channels per step."""
    if channels <= 64:
        reason = "two loads of 16 bytes per thread, two fp32 sums per element"
        return Tile(rows=64, columns=channels, warps=8, stages=2, reason=reason)
    reason = "as many elements as with 64 channels"
    return Tile(rows=4096 // channels, columns=channels, warps=8, stages=2, reason=reason)


@triton.jit
def _sums(x, image_at, first_pixel, end, channel_at, inside, x_pixel, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    """Per channel: the first value of the image (`origin`), and the sums of differences to it and of their squares."""
    origin = tl.load(x + image_at + channel_at, mask=inside, other=0.0).to(tl.float32)
    sums = tl.zeros((PIXELS, CHANNELS), tl.float32)
    squares = tl.zeros((PIXELS, CHANNELS), tl.float32)
    for start in range(first_pixel, end, PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        at = x + image_at + pixel[:, None].to(tl.int64) * x_pixel + channel_at[None, :]
        present = (pixel < end)[:, None] & inside[None, :]
        values = tl.load(at, mask=present, other=0.0).to(tl.float32)
        difference = tl.where(present, values - origin[None, :], 0.0)
        sums += difference
        squares += difference * difference
    return origin, tl.sum(sums, axis=0), tl.sum(squares, axis=0)


@triton.jit
def _scaling(origin, sums, squares, pixels, shift, weight, bias, eps, SIZE: tl.constexpr, GROUPS: tl.constexpr):
    """Per channel: scale and offset that normalize x, from the sums over all pixels of an image.

    shift: fp32 (CHANNELS,), added to x before the norm. SIZE: channels per group. GROUPS: groups per slab.
    """
    count = pixels.to(tl.float32)
    mean = origin + shift + sums / count
    m2 = squares - sums * (sums / count)
    group = tl.arange(0, origin.shape[0]) // SIZE
    center = tl.zeros_like(mean)
    inverse = tl.zeros_like(mean)
    for index in tl.static_range(GROUPS):
        member = group == index
        group_mean = tl.sum(tl.where(member, mean, 0.0), axis=0) / SIZE
        delta = mean - group_mean
        variance = tl.sum(tl.where(member, m2 + count * delta * delta, 0.0), axis=0) / (count * SIZE)
        center = tl.where(member, group_mean, center)
        inverse = tl.where(member, tl.rsqrt(variance + eps), inverse)
    scale = inverse * weight
    return scale, (shift - center) * scale + bias


@triton.jit
def _apply(
    x, out, x_image_at, out_image_at, first_pixel, end, x_channel_at, out_channel_at, inside, x_pixel, out_pixel,
    scale, offset, inverse_step, SILU: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    for start in range(first_pixel, end, PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        present = (pixel < end)[:, None] & inside[None, :]
        row = pixel[:, None].to(tl.int64)
        values = tl.load(x + x_image_at + row * x_pixel + x_channel_at[None, :], mask=present, other=0.0)
        values = values.to(tl.float32) * scale[None, :] + offset[None, :]
        if SILU:
            values = values / (1.0 + tl.exp(-values))
        at = out + out_image_at + row * out_pixel + out_channel_at[None, :]
        tl.store(at, cast_output(values, inverse_step), mask=present)


@triton.jit
def group_norm_silu_kernel(
    x, out, weight, bias, shift, partial, inverse_step,
    pixels, channels, segments, eps,
    x_image, x_channel, x_pixel, out_image, out_channel, out_pixel, shift_image,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, SIZE: tl.constexpr, GROUPS: tl.constexpr, SILU: tl.constexpr,
    SEGMENT: tl.constexpr, SEGMENTS: tl.constexpr, SUMS_ONLY: tl.constexpr,
):  # fmt: skip
    """One slab of GROUPS groups and one segment of pixels.

    x, out: fp16 (images, channels, pixels) with the given strides; out may be int8. weight, bias: fp16 (channels,).
    shift: fp16 (images, channels), or None. partial: fp32 (images, segments, 2, channels), sums of each segment; None
    if there is only one. SUMS_ONLY: write `partial` and return; otherwise read it, if present.
    """
    image = tl.program_id(2).to(tl.int64)
    local = tl.arange(0, CHANNELS)
    channel = tl.program_id(1) * (GROUPS * SIZE) + local
    inside = (local < GROUPS * SIZE) & (channel < channels)
    first_pixel = tl.program_id(0) * SEGMENT
    end = tl.minimum(first_pixel + SEGMENT, pixels)
    x_at = channel.to(tl.int64) * x_channel

    if partial is None or SUMS_ONLY:
        origin, sums, squares = _sums(
            x,
            image_at=image * x_image,
            first_pixel=first_pixel,
            end=end,
            channel_at=x_at,
            inside=inside,
            x_pixel=x_pixel,
            PIXELS=PIXELS,
            CHANNELS=CHANNELS,
        )
        if SUMS_ONLY:
            at = partial + (image * segments + tl.program_id(0)) * 2 * channels + channel
            tl.store(at, sums, mask=inside)
            tl.store(at + channels, squares, mask=inside)
            return
    else:
        segment = tl.arange(0, SEGMENTS)[:, None]
        at = partial + (image * segments + segment) * 2 * channels + channel[None, :]
        known = (segment < segments) & inside[None, :]
        sums = tl.sum(tl.load(at, mask=known, other=0.0), axis=0)
        squares = tl.sum(tl.load(at + channels, mask=known, other=0.0), axis=0)
        origin = tl.load(x + image * x_image + x_at, mask=inside, other=0.0).to(tl.float32)

    added = tl.zeros((CHANNELS,), tl.float32)
    if shift is not None:
        added = tl.load(shift + image * shift_image + channel, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    scale, offset = _scaling(
        origin, sums, squares, pixels, shift=added, weight=w, bias=b, eps=eps, SIZE=SIZE, GROUPS=GROUPS
    )
    _apply(
        x, out, x_image_at=image * x_image, out_image_at=image * out_image, first_pixel=first_pixel, end=end,
        x_channel_at=x_at, out_channel_at=channel.to(tl.int64) * out_channel, inside=inside,
        x_pixel=x_pixel, out_pixel=out_pixel, scale=scale, offset=offset, inverse_step=inverse_step,
        SILU=SILU, PIXELS=PIXELS,
    )  # fmt: skip


def group_norm_silu(
    x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None = None, groups: int = 32, eps: float = 1e-5,
    silu: bool = True, inverse_step: float | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """(B, C, S): silu(group_norm(x + shift)) in fp16, or quantized to int8.

    Args:
        x: (B, C, S) fp16 with any strides: channels-last images flattened to S pixels, or frames and pixels of a video.
        weight, bias: (C,) fp16, contiguous.
        shift: (B, C) fp16 with contiguous rows, the time embedding of each image.
        groups: a divisor of C.
        eps: added to the variance of a group.
        silu: whether to apply the activation.
        inverse_step: 1 / quantization step for an int8 result; None for fp16.
        out: (B, C, S) fp16, or int8 with `inverse_step`, with any strides; allocated like x by default.

    Raises:
        BadInputError: a shape, dtype or device is not supported.
    """
    out = outputs(x=x, inverse_step=inverse_step) if out is None else out
    for launch in launches(
        out, x, weight, bias, shift=shift, groups=groups, eps=eps, silu=silu, inverse_step=inverse_step
    ):
        launch.run()
    return out


def outputs(x: Tensor, inverse_step: float | None = None, **_: object) -> Tensor:
    """Allocate the result, with the strides of x."""
    return torch.empty_like(x, dtype=torch.float16 if inverse_step is None else torch.int8)


def launches(
    out: Tensor, x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, groups: int, eps: float, silu: bool,
    inverse_step: float | None = None, architecture: int = ORIN,
) -> list[Launch]:  # fmt: skip
    """One launch for up to SEGMENT pixels, two for more, with the same tiles on every architecture."""
    _check(out, x, weight, bias, shift=shift, groups=groups, inverse_step=inverse_step)
    images, channels, pixels = x.shape
    size = channels // groups
    slab_groups = groups_per_slab(size, groups)
    segments = ceil_div(pixels, SEGMENT)
    tile = tile_for(power_of_two(slab_groups * size, 16))
    partial = None
    if segments > 1:
        partial = torch.empty((images, segments, 2, channels), dtype=torch.float32, device=x.device)
    arguments = {
        "x": x, "out": out, "weight": weight, "bias": bias, "shift": shift, "partial": partial,
        "inverse_step": inverse_step, "pixels": pixels, "channels": channels, "segments": segments, "eps": eps,
        "shift_image": 0 if shift is None else shift.stride(0),
        **strides_of("x", x, "image", "channel", "pixel"), **strides_of("out", out, "image", "channel", "pixel"),
    }  # fmt: skip
    constants = {
        "PIXELS": tile.rows,
        "CHANNELS": tile.columns,
        "SIZE": size,
        "GROUPS": slab_groups,
        "SILU": silu,
        "SEGMENT": SEGMENT,
        "SEGMENTS": power_of_two(segments),
    }
    grid = (segments, ceil_div(groups, slab_groups), images)
    return [
        Launch(
            kernel=group_norm_silu_kernel,
            grid=grid,
            arguments=arguments,
            constants=constants | {"SUMS_ONLY": sums_only},
            tile=tile,
        )
        for sums_only in ((False,) if partial is None else (True, False))
    ]


def groups_per_slab(size: int, groups: int) -> int:
    """Groups of `size` channels per slab: at least MIN_CHANNELS channels and, if possible, a multiple of 8."""
    aligned = math.lcm(size, 8) // size
    return min(aligned * ceil_div(MIN_CHANNELS, aligned * size), groups)


def _check(
    out: Tensor, x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, groups: int, inverse_step: float | None
) -> None:
    if x.ndim != 3 or groups < 1 or x.shape[1] % groups:
        raise BadInputError(f"x: expected (B, C, S) with C a multiple of {groups} groups, got {tuple(x.shape)}")
    for name, tensor in {"weight": weight, "bias": bias}.items():
        expect_shape(name, tensor, (x.shape[1],), x)
        expect_dtype(name, tensor, torch.float16)
    if shift is not None:
        expect_shape("shift", shift, tuple(x.shape[:2]), x)
        expect_dtype("shift", shift, torch.float16)
        expect_dense_rows("shift", shift)
    expect_dtype("x", x, torch.float16)
    expect_shape("out", out, tuple(x.shape), x)
    expect_dtype("out", out, torch.float16 if inverse_step is None else torch.int8)
