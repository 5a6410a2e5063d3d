"""A fake `cuda.bindings.runtime` that executes its calls on host memory, immediately or from a captured graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class FakeCudart:
    """A GPU of compute capability 8.7 with a CUDA 12.6 driver.

    Args:
        devices: number of GPUs.
        error: status of cudaGetDeviceCount.
        capture_fails: whether ending a stream capture fails.
    """

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaDeviceAttr = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor="major", cudaDevAttrComputeCapabilityMinor="minor"
    )

    def __init__(self, devices: int = 1, error: int = 0, capture_fails: bool = False) -> None:
        self._devices, self._error, self._capture_fails = devices, error, capture_fails
        self._memory: dict[int, Any] = {}
        self._captured: list[Callable[[], object]] | None = None
        self.launched = 0
        self.calls: list[str] = []

    def do(self, work: Callable[[], object]) -> None:
        """Execute work on the stream, or record it while the stream is being captured."""
        if self._captured is None:
            work()
        else:
            self._captured.append(work)

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        method = getattr(type(self), f"_{name}", None)
        if method is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            return method(self, *arguments)

        return call

    def _cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return self._error, self._devices

    def _cudaGetErrorString(self, error: int) -> tuple[Any, ...]:
        return 0, b"no driver" if error == 35 else b"failed"

    def _cudaDeviceGetAttribute(self, attribute: str, device: int) -> tuple[Any, ...]:
        return 0, {"major": 8, "minor": 7}[attribute]

    def _cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return 0, 12060

    def _cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return 0, 77

    def _cudaMalloc(self, size: int) -> tuple[Any, ...]:
        buffer = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(buffer)
        self._memory[address] = buffer
        return 0, address

    def _cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self._cudaMalloc(size)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[Any, ...]:
        self.do(lambda: ctypes.memmove(target, source, size))
        return (0,)

    def _cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        return (0,)

    def _cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Any, ...]:
        self._captured = []
        return (0,)

    def _cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        graph, self._captured = self._captured, None
        return (901, None) if self._capture_fails else (0, graph)

    def _cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:
        return 0, graph

    def _cudaGraphLaunch(self, graph: Any, stream: int) -> tuple[Any, ...]:
        self.launched += 1
        for work in graph:
            work()
        return (0,)
