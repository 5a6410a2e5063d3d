"""How well the control loop keeps time: the lateness of every tick in, counts and percentiles out; no allocation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KEPT_TICKS = 360_000  # an hour at 100 Hz: percentiles cover the last so many ticks, counts all of them


@dataclass(frozen=True)
class LoopReport:
    """Timing of a run.

    Attributes:
        ticks: periods served; `missed`: periods skipped because the loop was too late for them.
        rate_hz: ticks per second achieved.
        late: ticks that woke more than `late_limit_ms` after their deadline, missed ones included.
        late_share: `late` over all periods.
        lateness_ms: p50, p99, p99.9 and max of wake-up minus deadline.
        work_ms: p50, p99 and max of the work of a tick.
        longest_miss_run: most periods skipped in a row.
    """

    ticks: int
    missed: int
    rate_hz: float
    late: int
    late_share: float
    late_limit_ms: float
    lateness_ms: dict[str, float]
    work_ms: dict[str, float]
    longest_miss_run: int


class LoopStatistics:
    """Collects the timing of one loop. A tick that wakes `late_limit_ns` after its deadline counts as late."""

    def __init__(self, late_limit_ns: int) -> None:
        self.late_limit_ns = late_limit_ns
        self._late_ns = np.zeros(KEPT_TICKS, np.int64)
        self._work_ns = np.zeros(KEPT_TICKS, np.int64)
        self._late_ns.fill(0)  # touches the pages now rather than in the loop
        self._work_ns.fill(0)
        self.restart(0)

    def restart(self, now_ns: int) -> None:
        """Starts over; the run is counted from `now_ns`."""
        self.ticks = self.missed = self.late = self.longest_miss_run = 0
        self._start_ns = self._last_ns = now_ns

    def add(self, now_ns: int, late_ns: int, work_ns: int, skipped: int) -> None:
        """Adds a tick that woke `late_ns` after its deadline, worked for `work_ns` and skipped `skipped` periods."""
        place = self.ticks % KEPT_TICKS
        self._late_ns[place] = late_ns
        self._work_ns[place] = work_ns
        self._last_ns = now_ns
        self.ticks += 1
        self.missed += skipped
        self.late += skipped + (late_ns > self.late_limit_ns)
        if skipped > self.longest_miss_run:
            self.longest_miss_run = skipped

    @property
    def late_share(self) -> float:
        return self.late / max(1, self.ticks + self.missed)

    @property
    def rate_hz(self) -> float:
        return 1e9 * max(0, self.ticks - 1) / max(1, self._last_ns - self._start_ns)

    @property
    def elapsed_s(self) -> float:
        """Seconds from the start to the last tick."""
        return (self._last_ns - self._start_ns) / 1e9

    def report(self) -> LoopReport:
        kept = min(self.ticks, KEPT_TICKS)
        return LoopReport(
            ticks=self.ticks,
            missed=self.missed,
            rate_hz=self.rate_hz,
            late=self.late,
            late_share=self.late_share,
            late_limit_ms=self.late_limit_ns / 1e6,
            lateness_ms=percentiles_ms(self._late_ns[:kept], (50, 99, 99.9)),
            work_ms=percentiles_ms(self._work_ns[:kept], (50, 99)),
            longest_miss_run=self.longest_miss_run,
        )


def percentiles_ms(values_ns: np.ndarray, percents: tuple[float, ...]) -> dict[str, float]:
    """`{"p50": .., ..., "max": ..}` in ms of nanoseconds; zeros when there are none."""
    values = np.asarray(values_ns, dtype=np.float64) / 1e6
    if not len(values):
        values = np.zeros(1)
    named = {
        f"p{percent:g}": float(value) for percent, value in zip(percents, np.percentile(values, percents), strict=True)
    }
    return {**named, "max": float(values.max())}
