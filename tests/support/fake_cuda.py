"""A fake `cuda.bindings.runtime` that executes on host memory and checks in which order things are destroyed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

ORDER = ("executable", "graph", "context", "engine", "runtime", "buffer", "stream")
"""Kinds of what an engine creates, in the order in which it has to destroy them."""

OUT_OF_MEMORY, NO_DRIVER, INVALID_VALUE, CAPTURE_INVALIDATED = 2, 35, 1, 901


class FakeCudart:
    """A GPU of compute capability 8.7 with a CUDA 12.6 driver.

    Whatever is created after a stream belongs to the same engine as the stream.

    Args:
        devices: number of GPUs.
        error: status of cudaGetDeviceCount.
        capture_fails: whether ending a stream capture fails.
        failing_call: index in `calls` of a call that fails and creates nothing; None: all succeed.
        failing_from_there: all calls after it fail too, as after an illegal memory access.

    Attributes:
        calls: names of the calls so far.
        alive: kind and engine of everything that was created and not destroyed, by handle.
        destroyed: kinds, in order.
        misuse: what was destroyed twice, too early, or never created.
        launched: launches of graphs.
    """

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaDeviceAttr = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor="major", cudaDevAttrComputeCapabilityMinor="minor"
    )

    def __init__(
        self,
        devices: int = 1,
        error: int = 0,
        capture_fails: bool = False,
        failing_call: int | None = None,
        failing_from_there: bool = False,
    ) -> None:
        self._devices, self._error, self._capture_fails = devices, error, capture_fails
        self._failing_call, self._failing_from_there = failing_call, failing_from_there
        self._memory: dict[int, Any] = {}
        self._graphs: dict[int, list[Callable[[], object]]] = {}
        self._capture: list[Callable[[], object]] | None = None
        self._handles = self._engine = 0
        self.calls: list[str] = []
        self.alive: dict[int, tuple[str, int]] = {}
        self.destroyed: list[str] = []
        self.misuse: list[str] = []
        self.launched = 0

    def assert_all_destroyed(self) -> None:
        """Everything that was created is destroyed, once and in the right order, and no capture is left open."""
        assert self.misuse == []
        assert self.alive == {}
        assert self._capture is None

    def do(self, work: Callable[[], object]) -> None:
        """Execute work on the stream, or record it while the stream is being captured."""
        if self._capture is None:
            work()
        else:
            self._capture.append(work)

    def create(self, kind: str, handle: int | None = None) -> int:
        """A handle of something that has to be destroyed."""
        self._handles += 1
        self._engine += kind == "stream"
        handle = self._handles if handle is None else handle
        self.alive[handle] = (kind, self._engine)
        return handle

    def destroy(self, kind: str, handle: int) -> tuple[int]:
        found, engine = self.alive.pop(handle, (None, None))
        if found != kind:
            self.misuse.append(f"{kind} {handle} does not exist, or no longer")
            return (INVALID_VALUE,)
        for other, owner in self.alive.values():
            if owner == engine and ORDER.index(other) < ORDER.index(kind):
                self.misuse.append(f"{kind} destroyed before {other}")
        self.destroyed.append(kind)
        return (0,)

    def step(self, name: str) -> bool:
        """Records a call, of this library or TensorRT; whether it succeeds."""
        number = len(self.calls)
        self.calls.append(name)
        if self._failing_call is None:
            return True
        return number < self._failing_call if self._failing_from_there else number != self._failing_call

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        method = getattr(type(self), f"_{name}", None)
        if method is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            succeeds = self.step(name)
            if succeeds or name == "cudaGetErrorString":
                return method(self, *arguments)
            if name.endswith("Destroy") or name.startswith("cudaFree"):
                method(self, *arguments)  # counts as destroyed: nobody can try again
            if name == "cudaStreamEndCapture":
                self._capture = None
            return (OUT_OF_MEMORY,) if name in _WITHOUT_VALUE else (OUT_OF_MEMORY, None)

        return call

    def _cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return self._error, self._devices

    def _cudaGetErrorString(self, error: int) -> tuple[Any, ...]:
        return 0, {NO_DRIVER: b"no driver", OUT_OF_MEMORY: b"out of memory"}.get(error, b"failed")

    def _cudaDeviceGetAttribute(self, attribute: str, device: int) -> tuple[Any, ...]:
        return 0, {"major": 8, "minor": 7}[attribute]

    def _cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return 0, 12060

    def _cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return 0, self.create("stream")

    def _cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self.destroy("stream", stream)

    def _cudaMalloc(self, size: int) -> tuple[Any, ...]:
        buffer = (ctypes.c_uint8 * size)()
        address = self.create("buffer", ctypes.addressof(buffer))
        self._memory[address] = buffer
        return 0, address

    def _cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self._cudaMalloc(size)

    def _cudaFree(self, address: int) -> tuple[Any, ...]:
        self._memory.pop(address, None)
        return self.destroy("buffer", address)

    def _cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        return self._cudaFree(address)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[Any, ...]:
        self.do(lambda: ctypes.memmove(target, source, size))
        return (0,)

    def _cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        return (0,)

    def _cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Any, ...]:
        self._capture = []
        return (0,)

    def _cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        work, self._capture = self._capture, None
        if self._capture_fails:
            return CAPTURE_INVALIDATED, None
        graph = self.create("graph")
        self._graphs[graph] = work or []
        return 0, graph

    def _cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        return self.destroy("graph", graph)

    def _cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        executable = self.create("executable")
        self._graphs[executable] = self._graphs[graph]
        return 0, executable

    def _cudaGraphExecDestroy(self, executable: int) -> tuple[Any, ...]:
        return self.destroy("executable", executable)

    def _cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Any, ...]:
        self.launched += 1
        for work in self._graphs[executable]:
            work()
        return (0,)


_WITHOUT_VALUE = frozenset(
    {
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
        "cudaStreamBeginCapture",
        "cudaGraphLaunch",
        "cudaStreamDestroy",
        "cudaGraphDestroy",
        "cudaGraphExecDestroy",
        "cudaFree",
        "cudaFreeHost",
    }
)
