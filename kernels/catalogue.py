"""The kernels by name: in, the name of an operation; out, what it says of itself, and its host side (Triton)."""

from __future__ import annotations

import importlib
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.kernels.launch import Launch
from vpp_edge.kernels.operation import Case, Operation, TensorFactory

OPERATIONS = (
    "temporal_attention",
    "spatial_attention",
    "text_attention",
    "perceiver_attention",
    "group_norm_silu",
    "residual_layer_norm",
    "geglu",
)


def operation(name: str) -> Operation:
    """An operation with its reference and cases; needs PyTorch and no Triton.

    Raises:
        BadInputError: there is no operation of this name.
    """
    if name not in OPERATIONS:
        raise BadInputError(f"there is no kernel {name!r}; there are {', '.join(OPERATIONS)}")
    found: Operation = importlib.import_module(f"vpp_edge.kernels.{name}.cases").OPERATION
    return found


def host_side(name: str) -> Any:
    """The module with the kernel: `<name>(...)`, which runs it, `outputs(...)` and `launches(out, ...)`.

    Raises:
        MissingDependencyError: Triton is not installed.
    """
    try:
        return importlib.import_module(f"vpp_edge.kernels.{name}.kernel")
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        install = "pip install 'vpp-edge[kernels]'"
        raise MissingDependencyError("triton", f"the kernel {name}", install) from error


def launches_of(name: str, case: Case, architecture: int) -> list[Launch]:
    """What a case launches on an architecture, with tensors that have no memory."""
    host, inputs = host_side(name), operation(name).inputs(case.sizes, TensorFactory("meta"))
    launches: list[Launch] = host.launches(host.outputs(**inputs), **inputs, architecture=architecture)
    return launches
