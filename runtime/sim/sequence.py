"""Runs episodes of the task one after another in a live run, and judges them by the published states.

Between two episodes the policy is paused, the loop moves the hand to the start of the next one, and the world moves the
buttons. Only then the next instruction is published, which counts for later frames and chunks only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.control.scalar_rotation import difference
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.instruction import NEVER, Instruction, write_instruction
from vpp_edge.runtime.sim.hand import SimHand
from vpp_edge.runtime.sim.task import Episode, Judge
from vpp_edge.runtime.sim.world import depths_of
from vpp_edge.spec.pose import PoseLayout

LINGER_S = 0.8  # after the verdict, so that viewers can see it
LIFT_M = 0.06  # straight up from the buttons, before moving to the start
THERE_M, THERE_RAD = 0.003, 0.03
LONGEST_WAY_S = 4.0  # to the start of the next episode; a hand that is stuck starts from where it is


@dataclass(frozen=True)
class Tick:
    """One published state of the loop."""

    stamp_ns: int
    vector: np.ndarray
    scene: np.ndarray
    episode: int
    request: int


@dataclass(frozen=True)
class Result:
    """One episode: its verdict, the pressed buttons, and the seconds from the policy's first chunk to the verdict."""

    episode: Episode
    verdict: str
    pressed: tuple[str, ...]
    seconds: float


class EpisodeSequence:
    """Leads a run through episodes; pass `advance` as `RunHooks.on_poll`.

    Args:
        hand: of the run, already in the first episode.
        on_result: called with each Result at its verdict.

    Attributes:
        caption: instruction and verdict of the current episode.
        results: of the episodes so far.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        hand: SimHand,
        on_result: Callable[[Result], None] = lambda result: None,
        time_limit_s: float | None = None,
    ) -> None:
        self._waiting, self._hand, self._on_result, self._time_limit_s = list(episodes), hand, on_result, time_limit_s
        self.results: list[Result] = []
        self._phase: Callable[[Tick, ControlLoop, Channels], None] = self._play
        self._sequence, self._number, self._request = 0, 0, -1
        self._since_ns: int | None = None  # start of the current episode, or of the way to the next one
        self._next()

    def advance(self, loop: ControlLoop, channels: Channels) -> None:
        """Processes all states published since the last call."""
        states = channels.states
        first = max(self._sequence + 1, states.sequence - states.depth + 2)
        for sequence in range(first, states.sequence + 1):
            message = states.read_numbered(sequence, _copied)
            if message is not None:
                self._phase(Tick(message.stamp_ns, *message.value), loop, channels)
            self._sequence = sequence

    def _next(self) -> None:
        self._episode = self._waiting.pop(0)
        self._judge, self._since_ns = Judge(self._episode, self._time_limit_s), None
        self.caption = self._episode.instruction

    def _play(self, tick: Tick, loop: ControlLoop, channels: Channels) -> None:
        if self._since_ns is None:
            if tick.episode < self._number or tick.request <= self._request:
                return
            self._since_ns = tick.stamp_ns
        judge, seconds = self._judge, (tick.stamp_ns - self._since_ns) / 1e9
        if judge.look(depths_of(tick.scene), seconds) != "running":
            self.caption = f"{self._episode.instruction}: {judge.verdict}"
            self.results.append(Result(self._episode, judge.verdict, judge.pressed, judge.seconds))
            self._on_result(self.results[-1])
            self._phase = self._linger

    def _linger(self, tick: Tick, loop: ControlLoop, channels: Channels) -> None:
        if (tick.stamp_ns - (self._since_ns or 0)) / 1e9 < self._judge.seconds + LINGER_S:
            return
        if not self._waiting:
            loop.request_stop("all episodes played")
            return
        write_instruction(channels.instruction, Instruction(self._episode.instruction, NEVER))
        self._goal = tick.vector.copy()
        self._goal[2] = min(self._goal[2] + LIFT_M, self._hand.limits.wrist_upper_m[2])
        self._leave(loop, tick, self._lift)

    def _leave(self, loop: ControlLoop, tick: Tick, phase: Callable[[Tick, ControlLoop, Channels], None]) -> None:
        loop.interrupt(self._goal)
        self._since_ns, self._phase = tick.stamp_ns, phase

    def _lift(self, tick: Tick, loop: ControlLoop, channels: Channels) -> None:
        if self._arrived(tick):
            self._goal = self._waiting[0].start
            self._leave(loop, tick, self._go_home)

    def _go_home(self, tick: Tick, loop: ControlLoop, channels: Channels) -> None:
        if self._arrived(tick):
            self._next()
            self._hand.rearrange(self._episode)
            self._phase = self._begin

    def _begin(self, tick: Tick, loop: ControlLoop, channels: Channels) -> None:
        if tick.scene[0] != self._episode.seed:
            return
        self._number, self._request = loop.interrupt(), tick.request
        write_instruction(
            channels.instruction, Instruction(self._episode.instruction, self._number, time.monotonic_ns())
        )
        self._phase = self._play

    def _arrived(self, tick: Tick) -> bool:
        away = np.abs(self._goal - tick.vector)
        turn = difference(tick.vector[PoseLayout.QUATERNION], self._goal[PoseLayout.QUATERNION])
        furthest_rad = max(math.hypot(*turn), away[PoseLayout.JOINTS].max())
        there = away[PoseLayout.POSITION].max() < THERE_M and furthest_rad < THERE_RAD
        return bool(there) or tick.stamp_ns - (self._since_ns or 0) > LONGEST_WAY_S * 1e9


def _copied(record: np.void) -> tuple[np.ndarray, np.ndarray, int, int]:
    return record["vector"].copy(), record["scene"].copy(), int(record["episode"]), int(record["request"])
