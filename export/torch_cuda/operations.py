"""The operations that the fused modules call: our kernels by name, or their references in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vpp_edge.kernels.catalogue import OPERATIONS, kernel_module, load_operation

Operations = Mapping[str, Callable[..., Any]]
"""Function by name in the catalogue, called with keyword arguments; a reference takes the arguments of its kernel."""


def kernel_operations() -> Operations:
    """The kernels, for fp16 tensors on a GPU, or on a CPU with Triton's interpreter.

    Raises:
        MissingDependencyError: Triton is not installed.
    """
    return {name: getattr(kernel_module(name), name) for name in OPERATIONS}


def reference_operations() -> Operations:
    """The references, for any device and floating-point type, without fusion. The kernels are compared with them."""
    return {name: load_operation(name).reference for name in OPERATIONS}
