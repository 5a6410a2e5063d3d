"""What the joined modules are made of: in, nothing; out, our kernels by name, or plain PyTorch in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vpp_edge.kernels.catalogue import OPERATIONS, host_side, operation

Operations = Mapping[str, Callable[..., Any]]
"""By a name of the catalogue, a function of keyword arguments; arguments of a reference are those of its kernel."""


def kernel_operations() -> Operations:
    """The kernels: fp16 tensors on a GPU, or on a CPU where Triton interprets.

    Raises:
        MissingDependencyError: Triton is not installed.
    """
    return {name: getattr(host_side(name), name) for name in OPERATIONS}


def reference_operations() -> Operations:
    """Their references: any device and floating type, nothing joined. What the kernels are compared with."""
    return {name: operation(name).reference for name in OPERATIONS}
