"""Wraps a hand: logs every command with its time, and lets a trial delay or change the states that are read."""

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
