"""GEGLU on the GPU: value * gelu(gate) from the halves of a matrix product, in int8 if the next one is quantized."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import ORIN, Launch, Tile, ceil_div, strides_of
from vpp_edge.kernels.rounding import cast_output
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

TILE = Tile(
    rows=8,
    columns=256,
    warps=4,
    stages=1,
    reason="2 loads of 16 bytes per thread and operand; 1280, 2560 and 5120 columns are 5, 10, 20 tiles",
)


@triton.jit
def geglu_kernel(
    value, gate, out, inverse_step, rows, width, value_row, gate_row, out_row,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """value, gate: fp16 (rows, width). out: fp16 or int8 (rows, width). Row strides as given."""
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    v = tl.load(value + row * value_row + column, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gate + row * gate_row + column, mask=inside, other=0.0).to(tl.float32)
    result = v * 0.5 * g * (1.0 + tl.erf(g * 0.7071067811865476))
    tl.store(out + row * out_row + column, cast_output(result, inverse_step), mask=inside)


def geglu(value: Tensor, gate: Tensor, inverse_step: float | None = None, out: Tensor | None = None) -> Tensor:
    """(N, H): `value * gelu(gate)` in fp16, or quantized to int8.

    Args:
        value, gate: (N, H) fp16 with contiguous rows, such as the halves of one (N, 2 H) product.
        inverse_step: 1 / quantization step for an int8 result; None for fp16.
        out: (N, H) fp16, or int8 with `inverse_step`, with contiguous rows; allocated by default.

    Raises:
        BadInputError: a shape, dtype, device or stride is not supported.
    """
    out = outputs(value=value, inverse_step=inverse_step) if out is None else out
    for launch in launches(out, value, gate, inverse_step):
        launch.run()
    return out


def outputs(value: Tensor, inverse_step: float | None = None, **_: object) -> Tensor:
    """Allocate the result."""
    dtype = torch.float16 if inverse_step is None else torch.int8
    return torch.empty(value.shape, dtype=dtype, device=value.device)


def launches(
    out: Tensor, value: Tensor, gate: Tensor, inverse_step: float | None = None, architecture: int = ORIN
) -> list[Launch]:
    """A single launch, with the same tile on every architecture."""
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
    constants = {"ROWS": TILE.rows, "COLUMNS": TILE.columns}
    return [Launch(kernel=geglu_kernel, grid=grid, arguments=arguments, constants=constants, tile=TILE)]
