"""Checks of a kernel's input tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def expect_shape(name: str, tensor: Tensor, shape: tuple[int, ...], device_of: Tensor) -> None:
    """Raises BadInputError unless `tensor` has this shape and is on the same device as `device_of`."""
    if tuple(tensor.shape) != shape:
        raise BadInputError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
    if tensor.device != device_of.device:
        raise BadInputError(f"{name}: expected device {device_of.device} like the other inputs, got {tensor.device}")


def expect_dtype(name: str, tensor: Tensor, *dtypes: torch.dtype) -> None:
    """Raises BadInputError unless `tensor` has one of these element types."""
    if tensor.dtype not in dtypes:
        expected = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        got = str(tensor.dtype).removeprefix("torch.")
        raise BadInputError(f"{name}: expected {expected}, got {got}. Convert it first: kernels convert no inputs.")


def expect_dense_rows(name: str, tensor: Tensor) -> None:
    """Raises BadInputError unless the last axis is contiguous."""
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        raise BadInputError(
            f"{name}: expected stride 1 on the last axis, got strides {tensor.stride()}. Other axes can have any."
        )
