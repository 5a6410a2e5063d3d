"""Monotonic nanoseconds for the control loop, from a clock that tests can drive by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of time, and the only way for loops to wait."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds: never step back, unrelated to the wall clock."""

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Returns at `deadline_ns` or as soon after it as the system allows; at once if it has passed."""


class MonotonicClock:
    """The system's monotonic clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until_ns(self, deadline_ns: int) -> None:
        remaining = deadline_ns - time.monotonic_ns()
        while remaining > 0:
            time.sleep(remaining / 1e9)
            remaining = deadline_ns - time.monotonic_ns()


class FakeClock:
    """A clock that moves only when it is advanced; sleeping jumps to the deadline."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance_ns(self, duration_ns: int) -> None:
        self._now_ns += duration_ns
