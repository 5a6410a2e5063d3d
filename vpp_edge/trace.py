"""Durations by name, and their percentiles for reports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Percentiles of one kind of duration in milliseconds, over `count` measurements."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def latency_from_ns(durations_ns: list[int] | np.ndarray) -> Latency:
    """Percentiles (linear interpolation) of at least one duration."""
    p50, p90, p99, top = np.percentile(np.asarray(durations_ns, dtype=np.float64) / 1e6, [50, 90, 99, 100])
    return Latency(count=len(durations_ns), p50_ms=float(p50), p90_ms=float(p90), p99_ms=float(p99), max_ms=float(top))


class Trace:
    """Collects durations by name, in the order of first use."""

    def __init__(self) -> None:
        self.durations_ns: dict[str, list[int]] = {}

    def add(self, name: str, duration_ns: int) -> None:
        self.durations_ns.setdefault(name, []).append(duration_ns)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the time that the body takes, also when it raises."""
        start = time.monotonic_ns()
        try:
            yield
        finally:
            self.add(name, time.monotonic_ns() - start)

    def latencies(self) -> dict[str, Latency]:
        return {name: latency_from_ns(values) for name, values in self.durations_ns.items()}
