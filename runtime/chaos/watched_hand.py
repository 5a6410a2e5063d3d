"""Wraps a hand so that it can be made to fail, and logs every command with its time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vpp_edge.runtime.interfaces import Hand, HandState, grip_of, scene_size_of

LONGEST_S = 1200
SPARE_S = 30  # a trial that is over is stopped, and its hand decelerates


class WatchedHand:
    """Logs what it is sent, with what a probe says at that moment. Context manager; closes the inner hand.

    Args:
        seconds, rate_hz: how much to log at most; what comes later is not logged.

    Attributes:
        on_read: called before each reading of the state, in the control loop; may take long or raise.
        bend: changes each state that was read.
        count: commands logged; `times_ns` (n,), `commands` (n, 7 + J), `probes` (n, k) hold them.
        held_ns: when it was told to hold, first of the last run of holds.
    """

    def __init__(self, inner: Hand, seconds: float, rate_hz: float = 100.0) -> None:
        self._inner = inner
        self.name, self.limits = inner.name, inner.limits
        self.scene_size, self.grip = scene_size_of(inner), grip_of(inner)
        ticks = int((min(seconds, LONGEST_S) + SPARE_S) * rate_hz)
        self.times_ns = np.zeros(ticks, np.int64)
        self.commands = np.zeros((ticks, self.limits.pose_dims))
        self.probes = np.zeros((ticks, 0), np.int64)
        self.count = 0
        self.held_ns: int | None = None
        self.on_read: Callable[[], None] = lambda: None
        self.bend: Callable[[np.ndarray], np.ndarray] = lambda vector: vector
        self.times_ns.fill(0)  # touches the pages now rather than in the loop
        self.commands.fill(0)
        self._probe: Callable[[], list[int]] = list

    def watch(self, probe: Callable[[], list[int]]) -> None:
        """From now on `probe` is called with every command; what came before has zeros."""
        self.probes = np.zeros((len(self.times_ns), len(probe())), np.int64)
        self.probes.fill(0)
        self._probe = probe

    def stall(self, seconds: float, times: int = 1) -> None:
        """Makes the next `times` readings take so much longer, in the control loop's thread."""
        left = [times]

        def sleep() -> None:
            left[0] -= 1
            if left[0] >= 0:
                time.sleep(seconds)

        self.on_read = sleep

    def read(self) -> HandState:
        self.on_read()
        state = self._inner.read()
        return dataclasses.replace(state, vector=self.bend(state.vector))

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
