"""Times the kernels of a function on a GPU, and measures the device's maximum bandwidth and compute rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

WARMUP = 3
COPIED_BYTES = 2**30
PRODUCT = 8192


@dataclass(frozen=True)
class Duration:
    """Median and 99th percentile, in seconds."""

    p50_s: float
    p99_s: float


@dataclass(frozen=True)
class Bench:
    """Times functions on a device.

    Attributes:
        device: a GPU; a CPU in a rehearsal, whose times are meaningless.
    """

    device: torch.device

    def time(self, function: Callable[[], object]) -> Duration:
        """Run a function as one CUDA graph between two device events, with a cold L2 cache each time.

        A graph excludes the launches from Python, for all contenders alike. It includes its own overhead, about 2 us.
        """
        if self.device.type != "cuda":
            return _rehearsed(function)
        import triton.testing

        graph = capture_graph(function)
        p50_ms, p99_ms = triton.testing.do_bench(graph.replay, warmup=20, rep=100, quantiles=[0.5, 0.99])
        return Duration(p50_s=p50_ms / 1e3, p99_s=p99_ms / 1e3)

    def ceilings(self) -> dict[str, float]:
        """bytes_per_s of a copy (reads plus writes), operations_per_s of an fp16 matrix product."""
        size, side = (COPIED_BYTES, PRODUCT) if self.device.type == "cuda" else (2**20, 64)
        source = torch.empty(size, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        a, b, c = (torch.randn(side, side, device=self.device).half() for _ in range(3))
        copied = self.time(lambda: target.copy_(source))
        multiplied = self.time(lambda: torch.mm(a, b, out=c))
        return {"bytes_per_s": 2 * size / copied.p50_s, "operations_per_s": 2 * side**3 / multiplied.p50_s}


def capture_graph(function: Callable[[], object]) -> Any:
    """Capture a function as a CUDA graph, after a few warm-up runs."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph


def _rehearsed(function: Callable[[], object]) -> Duration:
    durations = []
    for _ in range(WARMUP):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    p50_s, p99_s = np.percentile(durations, [50, 99])
    return Duration(p50_s=float(p50_s), p99_s=float(p99_s))
