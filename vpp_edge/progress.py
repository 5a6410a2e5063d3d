"""Progress of long work: lines on stderr with the remaining time, from stages with expected durations.

Lower floors do not know Progress: they take a `ProgressCallback` and call it with a stage and a fraction.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TextIO

from vpp_edge.clock import Clock, MonotonicClock

ProgressCallback = Callable[[str, float], None]
"""`report(stage, fraction)`: `fraction` (0 to 1) of `stage` is done; 0 begins it and ends all earlier stages."""

TERMINAL_INTERVAL_S = 0.5
LOG_INTERVAL_S = 15.0


def ignore_progress(stage: str, fraction: float) -> None:
    """The ProgressCallback that does nothing."""


class Progress:
    """Shows the progress of long work. A context manager, and itself a ProgressCallback.

        with Progress("export", stages=[("load", 5.0), ("text", 20.0)]) as progress:
            progress.step("load")
            policy = load(path)
            progress.step("text")
            export_text(policy, report=progress)

    On a terminal one line is rewritten twice a second; elsewhere a line is printed when a stage begins and every 15 s.
    The remaining time is estimated from the expected seconds, scaled by the speed of this machine so far.

    Args:
        title: the work, one word.
        stages: (name, expected seconds) in order; once one stage is over, only their ratios matter.
        stream: where to write; stderr by default.
        quiet: write nothing.
        clock: source of time.
        interval_s: seconds between refreshes by the background thread; None: chosen by the stream; 0: no thread.

    Attributes:
        durations_s: seconds of every finished stage, by name.

    Raises:
        ValueError: `stages` repeats a name, or a reported stage is not among them.
    """

    def __init__(
        self,
        title: str,
        stages: Sequence[tuple[str, float]],
        *,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Clock | None = None,
        interval_s: float | None = None,
    ) -> None:
        self.title = title
        self.durations_s: dict[str, float] = {}
        self._names = [name for name, _ in stages]
        self._expected_s = [max(seconds, 1e-3) for _, seconds in stages]
        if len(set(self._names)) != len(self._names):
            raise ValueError(f"progress stages repeat a name: {self._names}")
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._clock = MonotonicClock() if clock is None else clock
        self._terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._interval_s = interval_s
        self._index = -1
        self._fraction = self._first_fraction = 0.0
        self._start_ns = self._stage_start_ns = self._clock.now_ns()
        self._line_width = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        self._start_ns = self._stage_start_ns = self._clock.now_ns()
        interval_s = self._interval_s
        if interval_s is None:
            interval_s = TERMINAL_INTERVAL_S if self._terminal else LOG_INTERVAL_S
        if not self._quiet and interval_s > 0:
            self._thread = threading.Thread(target=self._refresh_every, args=(interval_s,), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            taken = _duration(self._seconds_since(self._start_ns))
            if kind is None:
                self._finish_stages(len(self._names))
                self._write(f"{self.title}: done in {taken}", last=True)
            else:
                where = f" in {self._names[self._index]}" if 0 <= self._index < len(self._names) else ""
                self._write(f"{self.title}: stopped{where} after {taken}", last=True)

    def __call__(self, stage: str, fraction: float = 0.0) -> None:
        """Reports that `fraction` (0 to 1) of `stage` is done and earlier stages are over. Going back is ignored.

        A stage that begins above 0 resumes an earlier run; that part does not count for the speed.
        """
        if stage not in self._names:
            raise ValueError(f"{self.title} has no stage {stage!r}; it has {self._names}")
        index = self._names.index(stage)
        with self._lock:
            if index < self._index:
                return
            begins = index > self._index
            if begins:
                self._finish_stages(index)
            self._fraction = max(0.0 if begins else self._fraction, min(float(fraction), 1.0))
            if begins:
                self._first_fraction = self._fraction
            if begins or self._terminal:
                self._write(self.line())

    def step(self, stage: str) -> None:
        """Begins `stage` and ends the earlier ones."""
        self(stage, 0.0)

    def update(self, fraction: float) -> None:
        """Reports the fraction of the current stage that is done, 0 to 1."""
        if self._index >= 0:
            self(self._names[self._index], fraction)

    def note(self, text: str) -> None:
        """Writes a permanent line above the one that is rewritten."""
        with self._lock:
            self._write(text, last=True)
            if self._terminal and self._index >= 0:
                self._write(self.line())

    def remaining_s(self) -> float:
        """Estimated seconds until the end."""
        if not self._names:
            return 0.0
        index = max(self._index, 0)
        spent_s = self._seconds_since(self._stage_start_ns)
        scale = self._scale()
        expected_s = self._expected_s[index] * scale
        # A reported fraction is preferred to the table: after 5 %, or at once if the stage overran its expected time.
        # A stage that overran it without reporting is assumed to be near its end.
        done = self._fraction - self._first_fraction
        measurable = done > 0.05 or (done > 0 and spent_s > expected_s)
        here_s = spent_s * (1.0 - self._fraction) / done if measurable else max(expected_s - spent_s, 0.0)
        return here_s + scale * sum(self._expected_s[index + 1 :])

    def line(self) -> str:
        """What is shown now: `export: text (2/5), 12 s, about 40 s left`."""
        index = max(self._index, 0)
        share = f" {self._fraction:.0%}" if self._fraction > 0 else ""
        name = f" {self._names[index]} ({index + 1}/{len(self._names)})" if self._names else ""
        remaining_s = self.remaining_s()
        left = f"about {_duration(remaining_s)} left" if remaining_s >= 1 else "nearly done"
        return f"{self.title}:{name}{share}, {_duration(self._seconds_since(self._start_ns))}, {left}"

    def _scale(self) -> float:
        """How much slower this machine is than the table, from the finished stages."""
        expected_s = sum(s for name, s in zip(self._names, self._expected_s, strict=True) if name in self.durations_s)
        return sum(self.durations_s.values()) / expected_s if expected_s > 0 else 1.0

    def _finish_stages(self, index: int) -> None:
        """Makes `index` the current stage. Stages that were skipped leave no duration."""
        now_ns = self._clock.now_ns()
        if self._index >= 0 and index > self._index:
            self.durations_s[self._names[self._index]] = (now_ns - self._stage_start_ns) / 1e9
        self._index, self._stage_start_ns = index, now_ns

    def _seconds_since(self, start_ns: int) -> float:
        return (self._clock.now_ns() - start_ns) / 1e9

    def _refresh_every(self, interval_s: float) -> None:
        while not self._stopped.wait(interval_s):
            with self._lock:
                if 0 <= self._index < len(self._names):
                    self._write(self.line())

    def _write(self, text: str, *, last: bool = False) -> None:
        if self._quiet:
            return
        try:
            if self._terminal:
                shown = text if last else text[: self._columns() - 1]  # a line that wraps cannot be rewritten
                self._stream.write("\r" + shown.ljust(self._line_width) + ("\n" if last else ""))
                self._line_width = 0 if last else len(shown)
            else:
                self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # The reader is gone; that must not end the work.
            self._quiet = True

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
