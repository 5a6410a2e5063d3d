"""Launches compiled kernels on a CUDA stream, given the addresses of their tensors.

Uses the CUDA driver API (cuda-bindings, `cuda.bindings.driver`), without Triton or PyTorch. Written from the
documentation of cuda-bindings 12.9 and 13.2; not yet run on a GPU.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.installing import CUDA_EXTRA, pip_install
from vpp_edge.kernels.artifact import ALIGNMENT, SCRATCH, TENSOR, CompiledKernel

THREADS_PER_WARP = 32
_DEFAULT_SHARED_BYTES = 48 * 1024  # limit without opting in to more (CUDA C++ Programming Guide)
_FORMATS = {TENSOR: "<Q", SCRATCH: "<Q", "i32": "<i", "i64": "<q", "fp32": "<f"}


@dataclass(frozen=True)
class PackedArguments:
    """The arguments of a launch in the layout that cuLaunchKernel reads.

    Attributes:
        values: (n, 8) uint8, one row per argument; a type of fewer bytes fills the first ones.
        pointers: (n,) uint64, the address of each row of `values`.
    """

    values: np.ndarray
    pointers: np.ndarray


def pack_arguments(kernel: CompiledKernel, addresses: Mapping[str, int]) -> PackedArguments:
    """Pack a kernel's arguments by position.

    Args:
        addresses: device address by parameter name, for every tensor and for every SCRATCH argument whose size is not
            0.

    Raises:
        BadInputError: an address is missing, null, misaligned, or matches no parameter.
    """
    expected = {a.name for a in kernel.arguments if a.kind == TENSOR or (a.kind == SCRATCH and a.elements)}
    if expected != set(addresses):
        raise BadInputError(
            f"{kernel.stem}: expected addresses of {', '.join(sorted(expected))}, got {', '.join(sorted(addresses))}"
        )
    invalid = [name for name, address in addresses.items() if address <= 0 or address % ALIGNMENT]
    if invalid:
        raise BadInputError(
            f"{kernel.stem}: the address of {invalid[0]} is {addresses[invalid[0]]:#x}, expected a nonzero multiple of "
            f"{ALIGNMENT}"
        )
    values = np.zeros((len(kernel.arguments), 8), np.uint8)
    for row, argument in zip(values, kernel.arguments, strict=True):
        value = addresses.get(argument.name, 0) if argument.kind in (TENSOR, SCRATCH) else argument.value
        packed = struct.pack(_FORMATS[argument.kind], value)
        row[: len(packed)] = np.frombuffer(packed, np.uint8)
    pointers = values.ctypes.data + 8 * np.arange(len(values), dtype=np.uint64)
    return PackedArguments(values=values, pointers=pointers.astype(np.uint64))


def load_driver() -> ModuleType:
    """Import `cuda.bindings.driver`; raises MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise MissingDependencyError(
            "cuda-bindings",
            "running a compiled kernel",
            pip_install(CUDA_EXTRA),
        ) from error


class KernelLauncher:
    """Loads a compiled kernel into the current CUDA context and launches it.

    Args:
        kernel: the artifact to load.
        architecture: compute capability of the current GPU, 10 * major + minor.
        driver: the driver API; `load_driver()` by default.

    Raises:
        BadInputError: the kernel was compiled for another architecture.
        HardwareFaultError: the driver rejects the code.
    """

    def __init__(self, kernel: CompiledKernel, architecture: int, driver: Any = None) -> None:
        if kernel.architecture != architecture:
            raise BadInputError(
                f"{kernel.stem} is for sm_{kernel.architecture}, this GPU is sm_{architecture}. "
                f"Compile it with `vpp-edge kernels compile --sm {architecture}`."
            )
        self.kernel, self._driver = kernel, load_driver() if driver is None else driver
        self._module = self._call("cuModuleLoadData", kernel.cubin)
        self._function = self._call("cuModuleGetFunction", self._module, kernel.entry.encode())
        if kernel.shared_bytes > _DEFAULT_SHARED_BYTES:
            attribute = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call("cuFuncSetAttribute", self._function, attribute, kernel.shared_bytes)

    def launch(self, arguments: PackedArguments, stream: int) -> None:
        """Enqueue one launch on a stream. The driver has copied the arguments when this returns.

        Raises:
            HardwareFaultError: the driver rejects the launch.
        """
        block = (THREADS_PER_WARP * self.kernel.warps, 1, 1)
        self._call(
            "cuLaunchKernel",
            self._function,
            *self.kernel.grid,
            *block,
            self.kernel.shared_bytes,
            stream,
            arguments.pointers.ctypes.data,
            0,
        )

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._driver, name)(*arguments)
        if int(error):
            raise HardwareFaultError(f"{self.kernel.stem}: {name} failed with CUDA error {int(error)}")
        return values[0] if values else None
