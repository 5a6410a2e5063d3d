"""Launches compiled kernels: in, a CompiledKernel and addresses of tensors; out, one launch on a CUDA stream.

Through NVIDIA's bindings (cuda-bindings, `cuda.bindings.driver`), without Triton or PyTorch. Written from the
documentation of cuda-bindings 12.9 and 13.2; no GPU has run it yet.
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
from vpp_edge.kernels.artifact import ALIGNMENT, SCRATCH, TENSOR, CompiledKernel

THREADS_OF_A_WARP = 32
_STATIC_SHARED_BYTES = 48 * 1024  # what a program may have without asking (CUDA C++ Programming Guide)
_FORMATS = {TENSOR: "<Q", SCRATCH: "<Q", "i32": "<i", "i64": "<q", "fp32": "<f"}


@dataclass(frozen=True)
class PackedArguments:
    """The arguments of a launch as the driver reads them.

    Attributes:
        values: 8 bytes for each argument, which fill as many of them as its type has.
        pointers: the address of each in `values`.
    """

    values: np.ndarray
    pointers: np.ndarray


def packed_arguments(kernel: CompiledKernel, addresses: Mapping[str, int]) -> PackedArguments:
    """The arguments of a kernel by position.

    Args:
        addresses: on the device, of every tensor by its parameter's name, and of memory of the size stated for every
            SCRATCH argument that has one.

    Raises:
        BadInputError: an address is missing, null, not aligned, or of no parameter.
    """
    wanted = {a.name for a in kernel.arguments if a.kind == TENSOR or (a.kind == SCRATCH and a.elements)}
    if wanted != set(addresses):
        raise BadInputError(
            f"{kernel.stem}: expected addresses of {', '.join(sorted(wanted))}, got {', '.join(sorted(addresses))}"
        )
    crooked = [name for name, address in addresses.items() if address <= 0 or address % ALIGNMENT]
    if crooked:
        raise BadInputError(
            f"{kernel.stem}: the address of {crooked[0]} is {addresses[crooked[0]]:#x}, expected one that is not 0 "
            f"and a multiple of {ALIGNMENT}"
        )
    values = np.zeros((len(kernel.arguments), 8), np.uint8)
    for row, argument in zip(values, kernel.arguments, strict=True):
        value = addresses.get(argument.name, 0) if argument.kind in (TENSOR, SCRATCH) else argument.value
        packed = struct.pack(_FORMATS[argument.kind], value)
        row[: len(packed)] = np.frombuffer(packed, np.uint8)
    pointers = values.ctypes.data + 8 * np.arange(len(values), dtype=np.uint64)
    return PackedArguments(values, pointers.astype(np.uint64))


def load_driver() -> ModuleType:
    """`cuda.bindings.driver`; MissingDependencyError when it is not installed."""
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise MissingDependencyError(
            "cuda-bindings", "a compiled kernel", "pip install 'vpp-edge[jetson]'   (on a workstation: vpp-edge[cuda])"
        ) from error


class LoadedKernel:
    """A compiled kernel in the current CUDA context, which must be of its architecture.

    Args:
        kernel: its machine code is loaded here, and its shared memory asked for.
        architecture: 10 * major + minor of the present GPU.
        driver: `load_driver()` when left out.

    Raises:
        BadInputError: it was compiled for another architecture.
        HardwareFaultError: the driver refuses the code.
    """

    def __init__(self, kernel: CompiledKernel, architecture: int, driver: Any = None) -> None:
        if kernel.architecture != architecture:
            raise BadInputError(
                f"{kernel.stem} is for sm_{kernel.architecture}, this GPU is sm_{architecture}. "
                f"`vpp-edge kernels compile --sm {architecture}` makes it for this one."
            )
        self.kernel, self._driver = kernel, load_driver() if driver is None else driver
        self._module = self._call("cuModuleLoadData", kernel.cubin)
        self._function = self._call("cuModuleGetFunction", self._module, kernel.entry.encode())
        if kernel.shared_bytes > _STATIC_SHARED_BYTES:
            attribute = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call("cuFuncSetAttribute", self._function, attribute, kernel.shared_bytes)

    def launch(self, arguments: PackedArguments, stream: int) -> None:
        """Queues one launch on a stream. The driver has copied the arguments when this returns.

        Raises:
            HardwareFaultError: the driver refuses the launch.
        """
        block = (THREADS_OF_A_WARP * self.kernel.warps, 1, 1)
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
