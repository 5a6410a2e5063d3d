"""The operations by name: their descriptions (PyTorch only) and the modules with their Triton kernels."""

from __future__ import annotations

import importlib
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.kernels.launch import Launch
from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.suggestion import did_you_mean

OPERATIONS = (
    "temporal_attention",
    "spatial_attention",
    "text_attention",
    "perceiver_attention",
    "group_norm_silu",
    "residual_layer_norm",
    "geglu",
)


def check_name(name: str) -> None:
    """Raises BadInputError for a name that is not in OPERATIONS."""
    if name not in OPERATIONS:
        raise BadInputError(
            f"unknown kernel {name!r}{did_you_mean(name, OPERATIONS)}; expected one of {', '.join(OPERATIONS)}"
        )


def load_operation(name: str) -> Operation:
    """An operation with its reference and cases. Needs PyTorch but not Triton.

    Raises:
        BadInputError: the name is unknown.
    """
    check_name(name)
    operation: Operation = importlib.import_module(f"vpp_edge.kernels.{name}.cases").OPERATION
    return operation


def kernel_module(name: str) -> Any:
    """The module of an operation's Triton kernel, with `<name>(...)`, `outputs(...)` and `launches(out, ...)`.

    Raises:
        MissingDependencyError: Triton is not installed.
    """
    try:
        return importlib.import_module(f"vpp_edge.kernels.{name}.kernel")
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        install = pip_install("kernels")
        raise MissingDependencyError("triton", f"the kernel {name}", install) from error


def launches_of(name: str, case: Case, architecture: int) -> list[Launch]:
    """The launches of a case on an architecture, with meta tensors."""
    module, inputs = kernel_module(name), load_operation(name).inputs(case.sizes, TensorFactory("meta"))
    launches: list[Launch] = module.launches(module.outputs(**inputs), **inputs, architecture=architecture)
    return launches
