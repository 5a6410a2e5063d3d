"""GEGLU on the GPU: in, the two halves of a product; out, value * gelu(gate), int8 where the next product takes it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import ORIN, Launch, Tile, ceil_div, strides_of
from vpp_edge.kernels.rounding import stored
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

TILE = Tile(8, 256, 4, 1, "2 loads of 16 bytes a thread and operand; 1280, 2560 and 5120 columns are 5, 10, 20 tiles")


@triton.jit
def geglu_kernel(
    value, gate, out, inverse_step, rows, width, value_row, gate_row, out_row,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """value, gate: fp16 (rows, width). out: fp16 or int8 (rows, width). Strides between rows as given."""
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    v = tl.load(value + row * value_row + column, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gate + row * gate_row + column, mask=inside, other=0.0).to(tl.float32)
    result = v * 0.5 * g * (1.0 + tl.erf(g * 0.7071067811865476))
    tl.store(out + row * out_row + column, stored(result, inverse_step), mask=inside)


def geglu(value: Tensor, gate: Tensor, inverse_step: float | None = None, out: Tensor | None = None) -> Tensor:
    """(N, H): `value * gelu(gate)`, fp16, or int8 steps of it.

    Args:
        value, gate: (N, H) fp16, rows dense: halves of one (N, 2 H) product will do.
        inverse_step: steps per unit of an int8 result; fp16 when left out.
        out: (N, H) fp16, or int8 with a step, rows dense; made when left out.

    Raises:
        BadInputError: a shape, dtype, device or stride does not fit.
    """
    out = outputs(value=value, inverse_step=inverse_step) if out is None else out
    for launch in launches(out, value, gate, inverse_step):
        launch.run()
    return out


def outputs(value: Tensor, inverse_step: float | None = None, **_: object) -> Tensor:
    """What the result is written to."""
    dtype = torch.float16 if inverse_step is None else torch.int8
    return torch.empty(value.shape, dtype=dtype, device=value.device)


def launches(
    out: Tensor, value: Tensor, gate: Tensor, inverse_step: float | None = None, architecture: int = ORIN
) -> list[Launch]:
    """The one launch; the same tile serves every architecture."""
    if value.ndim != 2:
        raise BadInputError(f"value: expected (N, H), got {tuple(value.shape)}")
    rows, width = value.shape
    tensors = {"value": value, "gate": gate, "out": out}
    strides: dict[str, int] = {}
    for name, tensor in tensors.items():
        expect_shape(name, tensor, (rows, width), value)
        expect_dtype(name, tensor, torch.int8 if name == "out" and inverse_step is not None else torch.float16)
        expect_dense_rows(name, tensor)
        strides |= strides_of(name, tensor, "row")
    arguments = tensors | {"inverse_step": inverse_step, "rows": rows, "width": width} | strides
    grid = (ceil_div(width, TILE.columns), ceil_div(rows, TILE.rows), 1)
    return [Launch(geglu_kernel, grid, arguments, {"ROWS": TILE.rows, "COLUMNS": TILE.columns}, TILE)]
