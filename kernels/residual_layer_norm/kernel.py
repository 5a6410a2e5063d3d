"""Residual sums fused with their LayerNorm on the GPU: the new residual stream and its norm from stream and update.

Everything that a transformer does between two matrix products, in one pass: a row is read, summed, written, and
normalized while it is in registers. A row of 320 to 2048 channels fits into a few warps.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import ORIN, Launch, Tile, ceil_div, power_of_two
from vpp_edge.kernels.rounding import cast_output
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

MAX_WIDTH = 8192
ELEMENTS = 4096


def tile_for(width: int) -> Tile:
    """Rows per program, for rows padded to `width`."""
    if width <= 2048:
        reason = "4096 elements, 32 per thread: 4 loads of 16 bytes per operand"
        return Tile(rows=ELEMENTS // width, columns=width, warps=4, stages=1, reason=reason)
    reason = "a row in 8 or 16 warps, at most 32 elements per thread"
    return Tile(rows=1, columns=width, warps=8 if width <= 4096 else 16, stages=1, reason=reason)


@triton.jit
def residual_layer_norm_kernel(
    residual, update, blended, positions, weight, bias, stream, normed, inverse_step,
    rows, width, frames, tokens, share, eps,
    residual_row, update_row, blended_row, positions_row, stream_row, normed_row,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    """ROWS rows of all videos, frames and tokens.

    residual, update, stream: fp16 (rows, width). blended: fp16 (rows, width) or None. positions: fp16 (frames, width)
    or None. weight, bias: fp16 (width,), or None without norm. normed: fp16 or int8 (rows, width), or None.
    tokens: number of tokens per frame. Row strides as given. KEEP: keep the positions in the stream.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    inside = (row < rows) & (column < width)

    total = tl.load(residual + row * residual_row + column, mask=inside, other=0.0).to(tl.float32)
    if blended is not None:
        other = tl.load(blended + row * blended_row + column, mask=inside, other=0.0).to(tl.float32)
        total = share * other + (1.0 - share) * total
    total += tl.load(update + row * update_row + column, mask=inside, other=0.0).to(tl.float32)
    if not KEEP:
        tl.store(stream + row * stream_row + column, total.to(tl.float16), mask=inside)
    if positions is not None:
        frame = row // tokens % frames
        total += tl.load(positions + frame * positions_row + column, mask=inside, other=0.0).to(tl.float32)
    if KEEP:
        tl.store(stream + row * stream_row + column, total.to(tl.float16), mask=inside)

    if normed is not None:
        mean = tl.sum(total, axis=1, keep_dims=True) / width
        difference = tl.where(inside, total - mean, 0.0)
        variance = tl.sum(difference * difference, axis=1, keep_dims=True) / width
        gain = tl.load(weight + column, mask=column < width, other=0.0).to(tl.float32)
        offset = tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)
        result = difference * tl.rsqrt(variance + eps) * gain + offset
        tl.store(normed + row * normed_row + column, cast_output(result, inverse_step), mask=inside)


def residual_layer_norm(
    residual: Tensor, update: Tensor, weight: Tensor | None, bias: Tensor | None,
    positions: Tensor | None = None, keep_positions: bool = False, blended: Tensor | None = None,
    share: float = 0.0, eps: float = 1e-5, inverse_step: float | None = None, out: tuple[Tensor, ...] | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """The stream `residual + update` and, if there is a weight, its LayerNorm; each (B, F, n, C).

    With `blended`, the residual is replaced by `share * blended + (1 - share) * residual`.

    Args:
        residual, update, blended: (B, F, n, C) fp16, contiguous except for one stride between rows.
        weight, bias: (C,) fp16, contiguous; None for no norm.
        positions: (F, C) fp16 with contiguous rows, added before the norm.
        keep_positions: whether the stream includes the positions.
        share: weight of `blended`.
        eps: added to the variance.
        inverse_step: 1 / quantization step for an int8 norm; None for fp16.
        out: the stream, and the norm if there is one; allocated by default. The stream may be `residual` itself.

    Raises:
        BadInputError: a shape, dtype, device or stride is not supported.
    """
    out = outputs(residual=residual, weight=weight, inverse_step=inverse_step) if out is None else out
    for launch in launches(
        out,
        residual,
        update,
        weight=weight,
        bias=bias,
        positions=positions,
        keep_positions=keep_positions,
        blended=blended,
        share=share,
        eps=eps,
        inverse_step=inverse_step,
    ):
        launch.run()
    return out


def outputs(
    residual: Tensor, weight: Tensor | None, inverse_step: float | None = None, **_: object
) -> tuple[Tensor, ...]:
    """Allocate the results."""
    stream = torch.empty(residual.shape, dtype=residual.dtype, device=residual.device)
    if weight is None:
        return (stream,)
    return stream, torch.empty_like(stream, dtype=torch.float16 if inverse_step is None else torch.int8)


def launches(
    out: tuple[Tensor, ...], residual: Tensor, update: Tensor, weight: Tensor | None, bias: Tensor | None,
    positions: Tensor | None, keep_positions: bool, blended: Tensor | None, share: float, eps: float,
    inverse_step: float | None = None, architecture: int = ORIN,
) -> list[Launch]:  # fmt: skip
    """A single launch, with the same tiles on every architecture."""
    if residual.ndim != 4 or residual.shape[-1] > MAX_WIDTH:
        raise BadInputError(f"residual: expected (B, F, n, C) with C <= {MAX_WIDTH}, got {tuple(residual.shape)}")
    if (weight is None) != (bias is None) or len(out) != (1 if weight is None else 2):
        raise BadInputError(
            "expected weight and bias with two tensors in `out`, or neither with one; got "
            f"weight {'None' if weight is None else 'given'}, bias {'None' if bias is None else 'given'} and "
            f"{len(out)} tensors"
        )
    batch, frames, tokens, width = residual.shape
    streams = {"residual": residual, "update": update, "blended": blended, "stream": out[0]}
    streams["normed"] = None if weight is None else out[1]
    strides = {}
    for name, tensor in streams.items():
        strides[f"{name}_row"] = 0 if tensor is None else _row_stride(name, tensor, residual)
        if tensor is not None:
            quantized = name == "normed" and inverse_step is not None
            expect_dtype(name, tensor, torch.int8 if quantized else torch.float16)
    for name, tensor, shape in (
        ("weight", weight, (width,)),
        ("bias", bias, (width,)),
        ("positions", positions, (frames, width)),
    ):
        if tensor is not None:
            expect_shape(name, tensor, shape, residual)
            expect_dtype(name, tensor, torch.float16)
            expect_dense_rows(name, tensor)
    arguments = {
        **streams, "positions": positions, "weight": weight, "bias": bias, "inverse_step": inverse_step,
        "rows": batch * frames * tokens, "width": width, "frames": frames, "tokens": tokens, "share": share,
        "eps": eps, "positions_row": 0 if positions is None else positions.stride(0), **strides,
    }  # fmt: skip
    tile = tile_for(power_of_two(width, 16))
    constants = {"ROWS": tile.rows, "WIDTH": tile.columns, "KEEP": keep_positions and positions is not None}
    grid = (ceil_div(batch * frames * tokens, tile.rows), 1, 1)
    return [Launch(kernel=residual_layer_norm_kernel, grid=grid, arguments=arguments, constants=constants, tile=tile)]


def _row_stride(name: str, tensor: Tensor, like: Tensor) -> int:
    """Elements from one row to the next, which must be the same across frames and videos."""
    expect_shape(name, tensor, tuple(like.shape), like)
    expect_dense_rows(name, tensor)
    _, frames, tokens, _ = tensor.shape
    row = tensor.stride(2)
    if tensor.stride(1) != tokens * row or tensor.stride(0) != frames * tokens * row:
        raise BadInputError(f"{name}: expected the same stride between all rows, got strides {tensor.stride()}")
    return row
