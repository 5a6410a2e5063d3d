"""GroupNorm with its surroundings on the GPU: in, an image or video as a convolution left it; out, what the next reads.

A program has a slab: a few whole groups of channels and a stretch of pixels. It sums up the slab, and scales and shifts
it in a second pass, whose reads find the slab in the cache: on an Orin, 1024 pixels of 40 channels are 80 KB, and the
slabs of all 16 multiprocessors fit into the L2's 4 MB. A video is too long for that: its stretches are summed up by one
launch and finished by a second, with the sums of all stretches.

Sums are of differences to the channel's first pixel, which takes the large part of the mean out before it is squared.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import ORIN, Launch, Tile, ceil_div, power_of_two, strides_of
from vpp_edge.kernels.rounding import stored
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

STRETCH = 1024
"""Pixels that one program takes."""

LEAST_CHANNELS = 32
"""Channels of a slab at least: 64 bytes of a pixel, two sectors of memory."""


def tile_for(channels: int) -> Tile:
    """Pixels and channels of a step."""
    if channels <= 64:
        return Tile(64, channels, 8, 2, "two loads of 16 bytes a thread, two fp32 sums of each element")
    return Tile(4096 // channels, channels, 8, 2, "as many elements as with 64 channels")


@triton.jit
def _sums(x, image_at, first_pixel, end, channel_at, inside, x_pixel, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    """Per channel: its first value of the image, and the sums of differences to it and of their squares."""
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
    """Per channel: factor and summand that normalize x, from the sums over all pixels of an image.

    shift: fp32 (CHANNELS,), what is added to x before. SIZE: channels of a group. GROUPS: in the slab.
    """
    count = pixels.to(tl.float32)
    mean = origin + shift + sums / count
    spread = squares - sums * (sums / count)
    group = tl.arange(0, origin.shape[0]) // SIZE
    center = tl.zeros_like(mean)
    inverse = tl.zeros_like(mean)
    for index in tl.static_range(GROUPS):
        member = group == index
        middle = tl.sum(tl.where(member, mean, 0.0), axis=0) / SIZE
        apart = mean - middle
        variance = tl.sum(tl.where(member, spread + count * apart * apart, 0.0), axis=0) / (count * SIZE)
        center = tl.where(member, middle, center)
        inverse = tl.where(member, tl.rsqrt(variance + eps), inverse)
    factor = inverse * weight
    return factor, (shift - center) * factor + bias


@triton.jit
def _apply(
    x, out, x_image_at, out_image_at, first_pixel, end, x_channel_at, out_channel_at, inside, x_pixel, out_pixel,
    factor, summand, inverse_step, SILU: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    for start in range(first_pixel, end, PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        present = (pixel < end)[:, None] & inside[None, :]
        row = pixel[:, None].to(tl.int64)
        values = tl.load(x + x_image_at + row * x_pixel + x_channel_at[None, :], mask=present, other=0.0)
        values = values.to(tl.float32) * factor[None, :] + summand[None, :]
        if SILU:
            values = values / (1.0 + tl.exp(-values))
        at = out + out_image_at + row * out_pixel + out_channel_at[None, :]
        tl.store(at, stored(values, inverse_step), mask=present)


@triton.jit
def group_norm_silu_kernel(
    x, out, weight, bias, shift, partial, inverse_step,
    pixels, channels, stretches, eps,
    x_image, x_channel, x_pixel, out_image, out_channel, out_pixel, shift_image,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr, SIZE: tl.constexpr, GROUPS: tl.constexpr, SILU: tl.constexpr,
    STRETCH: tl.constexpr, STRETCHES: tl.constexpr, SUMS_ONLY: tl.constexpr,
):  # fmt: skip
    """One slab of GROUPS groups and one stretch of pixels.

    x, out: fp16 (images, channels, pixels) at the strides given; out may be int8. weight, bias: fp16 (channels,).
    shift: fp16 (images, channels), or None. partial: fp32 (images, stretches, 2, channels), sums of each stretch; None
    where one stretch is all. SUMS_ONLY: write `partial`; else, where there is one, read it.
    """
    image = tl.program_id(2).to(tl.int64)
    local = tl.arange(0, CHANNELS)
    channel = tl.program_id(1) * (GROUPS * SIZE) + local
    inside = (local < GROUPS * SIZE) & (channel < channels)
    first_pixel = tl.program_id(0) * STRETCH
    end = tl.minimum(first_pixel + STRETCH, pixels)
    x_at = channel.to(tl.int64) * x_channel

    if partial is None or SUMS_ONLY:
        origin, sums, squares = _sums(x, image * x_image, first_pixel, end, x_at, inside, x_pixel, PIXELS, CHANNELS)
        if SUMS_ONLY:
            at = partial + (image * stretches + tl.program_id(0)) * 2 * channels + channel
            tl.store(at, sums, mask=inside)
            tl.store(at + channels, squares, mask=inside)
            return
    else:
        stretch = tl.arange(0, STRETCHES)[:, None]
        at = partial + (image * stretches + stretch) * 2 * channels + channel[None, :]
        known = (stretch < stretches) & inside[None, :]
        sums = tl.sum(tl.load(at, mask=known, other=0.0), axis=0)
        squares = tl.sum(tl.load(at + channels, mask=known, other=0.0), axis=0)
        origin = tl.load(x + image * x_image + x_at, mask=inside, other=0.0).to(tl.float32)

    moved = tl.zeros((CHANNELS,), tl.float32)
    if shift is not None:
        moved = tl.load(shift + image * shift_image + channel, mask=inside, other=0.0).to(tl.float32)
    gain = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    factor, summand = _scaling(origin, sums, squares, pixels, moved, gain, offset, eps, SIZE, GROUPS)
    _apply(
        x, out, image * x_image, image * out_image, first_pixel, end, x_at, channel.to(tl.int64) * out_channel,
        inside, x_pixel, out_pixel, factor, summand, inverse_step, SILU, PIXELS,
    )  # fmt: skip


def group_norm_silu(
    x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None = None, groups: int = 32, eps: float = 1e-5,
    silu: bool = True, inverse_step: float | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """(B, C, S): silu(group_norm(x + shift)), fp16, or int8 steps of it.

    Args:
        x: (B, C, S) fp16 at any strides: channels-last images flattened to S pixels, or frames and pixels of a video.
        weight, bias: (C,) fp16, dense.
        shift: (B, C) fp16, the time embedding of each image, rows dense.
        groups: a divisor of C.
        eps: added to a group's variance.
        silu: whether the activation follows.
        inverse_step: steps per unit of an int8 result; fp16 when left out.
        out: (B, C, S) fp16, or int8 with a step, at any strides; made like x when left out.

    Raises:
        BadInputError: a shape, dtype or device does not fit.
    """
    out = outputs(x=x, inverse_step=inverse_step) if out is None else out
    for launch in launches(out, x, weight, bias, shift, groups, eps, silu, inverse_step):
        launch.run()
    return out


def outputs(x: Tensor, inverse_step: float | None = None, **_: object) -> Tensor:
    """What the result is written to, with the strides of x."""
    return torch.empty_like(x, dtype=torch.float16 if inverse_step is None else torch.int8)


def launches(
    out: Tensor, x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, groups: int, eps: float, silu: bool,
    inverse_step: float | None = None, architecture: int = ORIN,
) -> list[Launch]:  # fmt: skip
    """One launch for images, two for more than STRETCH pixels; the same tiles serve every architecture."""
    _check(out, x, weight, bias, shift, groups, inverse_step)
    images, channels, pixels = x.shape
    size = channels // groups
    together = groups_of_a_slab(size, groups)
    stretches = ceil_div(pixels, STRETCH)
    tile = tile_for(power_of_two(together * size, 16))
    partial = None
    if stretches > 1:
        partial = torch.empty((images, stretches, 2, channels), dtype=torch.float32, device=x.device)
    arguments = {
        "x": x, "out": out, "weight": weight, "bias": bias, "shift": shift, "partial": partial,
        "inverse_step": inverse_step, "pixels": pixels, "channels": channels, "stretches": stretches, "eps": eps,
        "shift_image": 0 if shift is None else shift.stride(0),
        **strides_of("x", x, "image", "channel", "pixel"), **strides_of("out", out, "image", "channel", "pixel"),
    }  # fmt: skip
    constants = {
        "PIXELS": tile.rows,
        "CHANNELS": tile.columns,
        "SIZE": size,
        "GROUPS": together,
        "SILU": silu,
        "STRETCH": STRETCH,
        "STRETCHES": power_of_two(stretches),
    }
    grid = (stretches, ceil_div(groups, together), images)
    passes = (False,) if partial is None else (True, False)
    return [Launch(group_norm_silu_kernel, grid, arguments, constants | {"SUMS_ONLY": only}, tile) for only in passes]


def groups_of_a_slab(size: int, groups: int) -> int:
    """Groups of `size` channels that are at least LEAST_CHANNELS and, where it can be, whole loads of 8 channels."""
    aligned = math.lcm(size, 8) // size
    return min(aligned * ceil_div(LEAST_CHANNELS, aligned * size), groups)


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
