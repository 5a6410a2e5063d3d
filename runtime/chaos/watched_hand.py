"""Wraps a hand: logs every command with its time, and lets a trial delay or change the states that are read.

`CommandLog` reads the log, in time from when a fault was injected.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vpp_edge.runtime.interfaces import Hand, HandState, grip_of, is_simulated, scene_size_of

MAX_LOG_S = 1200
SPARE_S = 30  # for the end of the trial, while the hand decelerates


class WatchedHand:
    """Logs each command, with the values that a probe returns at that moment. Context manager; closes the inner hand.

    Args:
        seconds, rate_hz: size of the log; commands beyond it are not logged.

    Attributes:
        on_read: called in the control loop before each reading of the state; may take long or raise.
        change_state: maps each vector that was read to the one returned.
        count: commands logged; `times_ns` (n,), `commands` (n, 7 + J) and `probes` (n, k) hold them.
        held_ns: when `hold` was last called; None if never.
    """

    def __init__(self, inner: Hand, seconds: float, rate_hz: float = 100.0) -> None:
        self._inner = inner
        self.name, self.limits = inner.name, inner.limits
        self.simulated, self.scene_size, self.grip = is_simulated(inner), scene_size_of(inner), grip_of(inner)
        ticks = int((min(seconds, MAX_LOG_S) + SPARE_S) * rate_hz)
        self.times_ns = np.zeros(ticks, np.int64)
        self.commands = np.zeros((ticks, self.limits.pose_dims))
        self.probes = np.zeros((ticks, 0), np.int64)
        self.count = 0
        self.held_ns: int | None = None
        self.on_read: Callable[[], None] = lambda: None
        self.change_state: Callable[[np.ndarray], np.ndarray] = lambda vector: vector
        self.times_ns.fill(0)  # touches the pages here, not in the loop
        self.commands.fill(0)
        self._probe: Callable[[], list[int]] = list

    def set_probe(self, probe: Callable[[], list[int]]) -> None:
        """Calls `probe` with every command from now on; earlier commands have zeros."""
        probes = np.zeros((len(self.times_ns), len(probe())), np.int64)
        probes.fill(0)
        self._probe, self.probes = probe, probes  # in this order: the control loop sends meanwhile

    def stall(self, seconds: float, times: int = 1) -> None:
        """Delays each of the next `times` readings, in the control loop's thread."""
        remaining = times

        def sleep() -> None:
            nonlocal remaining
            remaining -= 1
            if remaining >= 0:
                time.sleep(seconds)

        self.on_read = sleep

    def read(self) -> HandState:
        self.on_read()
        state = self._inner.read()
        return dataclasses.replace(state, vector=self.change_state(state.vector))

    def send(self, target: np.ndarray) -> None:
        self._inner.send(target)
        if self.count < len(self.times_ns):
            self.times_ns[self.count] = time.monotonic_ns()
            self.commands[self.count] = target
            if self.probes.shape[1]:
                self.probes[self.count] = self._probe()
            self.count += 1

    def hold(self) -> None:
        self._inner.hold()
        self.held_ns = time.monotonic_ns()

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> WatchedHand:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class CommandLog:
    """What a watched hand has logged. Times of its methods count from the injection.

    Attributes:
        hand: which logs.
        columns: index of each probe by name.
        injected_ns: when the fault was injected, monotonic; 0 before.
        logged: how many commands count; fixed while somebody looks at them, because the control loop goes on.
    """

    hand: WatchedHand

    def __init__(self) -> None:
        self.columns: dict[str, int] = {}
        self.injected_ns = self.logged = 0

    @property
    def times_ns(self) -> np.ndarray:
        """(n,) when each command was sent, monotonic."""
        return self.hand.times_ns[: self.logged]

    @property
    def commands(self) -> np.ndarray:
        """(n, 7 + J) the commands."""
        return self.hand.commands[: self.logged]

    def column(self, name: str) -> np.ndarray:
        """(n,) the value of a counter at each command."""
        return self.hand.probes[: self.logged, self.columns[name]]

    def index_at(self, ms: float) -> int:
        """Index of the first command from this time on."""
        return int(np.searchsorted(self.times_ns, self.injected_ns + int(ms * 1e6)))

    def value_before(self, name: str) -> int:
        """The value of a counter at the last command before the injection."""
        return int(self.column(name)[max(0, self.index_at(0) - 1)])

    def ms_until_now(self) -> float:
        """Time until this moment, while the run lasts."""
        return (time.monotonic_ns() - self.injected_ns) / 1e6

    def ms_until_grown(self, name: str, by: int = 1) -> float | None:
        """Time until a counter had grown by so much; None if it never did."""
        return self.ms_until(self.column(name) >= self.value_before(name) + by)

    def ms_until(self, condition: np.ndarray, from_ms: float = 0) -> float | None:
        """Time of the first command from `from_ms` on for which `condition` (n,) holds; None if there is none."""
        after = self.times_ns >= self.injected_ns + from_ms * 1e6
        found = np.flatnonzero(condition & after)
        return float(self.times_ns[found[0]] - self.injected_ns) / 1e6 if len(found) else None

    def longest_ms(self, condition: np.ndarray) -> float:
        """The longest time after the injection for which `condition` (n,) held without a break."""
        ends = np.flatnonzero(np.diff(condition[self.index_at(0) :].astype(np.int8), prepend=0, append=0))
        times_ns = np.append(self.times_ns[self.index_at(0) :], self.times_ns[-1:])
        return float((times_ns[ends[1::2]] - times_ns[ends[::2]]).max(initial=0)) / 1e6

    def rest_after_ms(self, from_ms: float) -> float | None:
        """Time from `from_ms` until the command no longer changes; None if it always does."""
        start = self.index_at(from_ms)
        still = np.abs(np.diff(self.commands[start:], axis=0)).max(axis=1, initial=0) < 1e-12
        found = np.flatnonzero(still)
        return float(self.times_ns[start + found[0]] - self.injected_ns) / 1e6 - from_ms if len(found) else None
