"""The part of the CUDA runtime that engines need: the GPU of this machine, streams, buffers and graphs.

NVIDIA's own bindings (cuda-bindings, `cuda.bindings.runtime`) are imported on first use. Every call returns
(error, values...); `Cuda` turns an error into an exception. Written from the documentation of cuda-bindings 12.9 and
13.2; on a machine without a GPU only the results of `present_device` were seen.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError, MissingDependencyError
from vpp_edge.installing import CUDA_EXTRA, pip_install


@dataclass(frozen=True)
class Device:
    """The GPU that engines run on.

    Attributes:
        sm: compute capability, such as `87` for an Orin.
        cuda: the CUDA version that its driver supports, such as `12.6`.
    """

    sm: str
    cuda: str


def load_runtime() -> ModuleType:
    """`cuda.bindings.runtime`; MissingDependencyError when it is not installed."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingDependencyError("cuda-bindings", "a TensorRT engine", pip_install(CUDA_EXTRA)) from error


def present_device(cudart: ModuleType | None = None) -> Device:
    """The first GPU of this machine.

    Raises:
        MissingDependencyError: the bindings are not installed.
        BadInputError: there is no GPU, or no driver for it.
    """
    cudart = load_runtime() if cudart is None else cudart
    error, count = cudart.cudaGetDeviceCount()
    if int(error) or not count:
        reason = "none found" if not int(error) else _message(cudart, error)
        raise BadInputError(f"no usable NVIDIA GPU here ({reason}); --backend onnxruntime runs a bundle without one")
    cuda = Cuda(cudart)
    capability = cudart.cudaDeviceAttr
    major = cuda.call("cudaDeviceGetAttribute", capability.cudaDevAttrComputeCapabilityMajor, 0)
    minor = cuda.call("cudaDeviceGetAttribute", capability.cudaDevAttrComputeCapabilityMinor, 0)
    driver = cuda.call("cudaDriverGetVersion")
    return Device(f"{major}{minor}", f"{driver // 1000}.{driver % 1000 // 10}")


class Cuda:
    """Calls of the CUDA runtime, with errors as exceptions. Streams and addresses are plain numbers.

    What is created is destroyed by the ExitStack `owned`, in reverse order of creation.
    """

    def __init__(self, cudart: ModuleType | Any) -> None:
        self.runtime = cudart

    def call(self, name: str, *arguments: Any) -> Any:
        """The value that a call returns, or None; HardwareFaultError when it fails."""
        error, *values = getattr(self.runtime, name)(*arguments)
        if int(error):
            raise HardwareFaultError(f"{name} failed: {_message(self.runtime, error)}")
        return values[0] if values else None

    def stream(self, owned: ExitStack) -> int:
        """Handle of a new stream that does not wait for the default stream."""
        stream = int(self.call("cudaStreamCreateWithFlags", self.runtime.cudaStreamNonBlocking))
        owned.callback(self.call, "cudaStreamDestroy", stream)
        return stream

    def device_buffer(self, size: int, owned: ExitStack) -> int:
        """Address of `size` bytes on the device."""
        address = int(self.call("cudaMalloc", max(size, 1)))
        owned.callback(self.call, "cudaFree", address)
        return address

    def pinned_array(self, shape: tuple[int, ...], dtype: str, owned: ExitStack) -> np.ndarray:
        """An array in page-locked memory, which the device copies from and to without the CPU."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self.call("cudaHostAlloc", max(size, 1), 0))
        owned.callback(self.call, "cudaFreeHost", address)
        content = (ctypes.c_uint8 * size).from_address(address)
        return np.frombuffer(memoryview(content).cast("B"), np.dtype(dtype)).reshape(shape)

    def captured_graph(self, enqueue: Callable[[], None], stream: int, owned: ExitStack) -> Any:
        """The graph of what `enqueue` puts on a stream; None when that cannot be captured."""
        mode = self.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", stream, mode)
        enqueued = False
        try:
            enqueue()
            enqueued = True
        except HardwareFaultError:
            pass
        finally:  # a stream cannot be used again until its capture has ended
            error, graph = self.runtime.cudaStreamEndCapture(stream)
            if not int(error) and graph is not None:
                owned.callback(self.call, "cudaGraphDestroy", graph)
        return graph if enqueued and not int(error) else None

    def executable_graph(self, graph: Any, owned: ExitStack) -> Any:
        """An executable form of a graph; None when there is none."""
        error, executable = self.runtime.cudaGraphInstantiate(graph, 0)
        if int(error):
            return None
        owned.callback(self.call, "cudaGraphExecDestroy", executable)
        return executable


def _message(cudart: Any, error: Any) -> str:
    _, text = cudart.cudaGetErrorString(error)
    return text.decode() if isinstance(text, bytes) else str(text)
