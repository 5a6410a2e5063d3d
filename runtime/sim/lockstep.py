"""Episodes in simulated time: in, an episode and something that thinks; out, what came of it, the same every time.

The hand is driven by the real control loop with its limits, chunks and seams; only the clock and the other processes
are replaced. Nothing depends on how fast the machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vpp_edge.clock import FakeClock
from vpp_edge.runtime.control.chunk_player import Chunk, chunk_to_play
from vpp_edge.runtime.control.contract import ControlSettings, Stand
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import HandState
from vpp_edge.runtime.policy.chunk_handover import Chunking
from vpp_edge.runtime.policy.handover_modes import NAIVE
from vpp_edge.runtime.sim.hand import SimHand
from vpp_edge.runtime.sim.task import TIME_LIMIT_S, Episode, Judge
from vpp_edge.runtime.sim.world import scene_of

STOPPED = "stopped"  # a verdict of the control loop: it would not go on


@dataclass(frozen=True)
class Moment:
    """What can be known at one moment of an episode.

    Attributes:
        state: (19,) of the hand; `scene`: (5,) as in `world.scene_of`, for pictures.
        plan: the chunk that the next one has to continue, if any; its request counts the moments of the episode.
        delay_ns: upper bound of the time from now to the moment at which the hand follows the next chunk.
    """

    state: np.ndarray
    scene: np.ndarray
    seconds: float
    plan: Chunk | None = None
    delay_ns: int = 0

    @property
    def stamp_ns(self) -> int:
        return round(self.seconds * 1e9)


Thinker = Callable[[Moment], np.ndarray]


@dataclass(frozen=True)
class Pace:
    """When a policy thinks, and for how long.

    Attributes:
        period_ns: between two actions of a chunk.
        replan_ns: from one observation to the next.
        delay_ns: from an observation to its chunk; the next observation waits for it.
        chunking: how one chunk follows another, one of `chunking.MODES`.
    """

    period_ns: int = 100_000_000
    replan_ns: int = 200_000_000
    delay_ns: int = 0
    chunking: str = NAIVE


@dataclass(frozen=True)
class Outcome:
    """One episode.

    Attributes:
        verdict: of the Judge, which fell after `seconds`, or STOPPED; `pressed`: the buttons that were down then.
        states: (n, 19) measured, one per tick of the control loop; `commands`: (n, 19) sent.
        played: the chunks that were executed, each with the monotonic time from which on.
        stopped: why the control loop ended the episode before its verdict; empty otherwise.
    """

    seed: int
    colour: str
    verdict: str
    pressed: tuple[str, ...]
    seconds: float
    states: np.ndarray
    commands: np.ndarray
    played: tuple[tuple[Chunk, int], ...] = ()
    stopped: str = ""


def play(
    episode: Episode,
    think: Thinker,
    horizon: int,
    pace: Pace = Pace(),
    *,
    time_limit_s: float = TIME_LIMIT_S,
    linger_s: float = 0.0,
) -> Outcome:
    """Plays one episode until its verdict, and `linger_s` longer.

    Args:
        think: (T, 19) targets, the first one `pace.period_ns` after the moment that it is given.
        horizon: T.
    """
    clock = FakeClock()
    with SimHand(clock, episode) as hand:
        link = _LockStepLink(hand, think, pace, Judge(episode, time_limit_s), linger_s)
        loop = ControlLoop(hand, link, clock, horizon, pace.period_ns, ControlSettings())
        link.request_stop = loop.request_stop
        report = loop.run()
    judge = link.judge
    stopped = report.ended if judge.verdict == "running" else ""
    return Outcome(
        episode.seed, episode.colour, STOPPED if stopped else judge.verdict, judge.pressed, judge.seconds,
        np.stack(link.states), np.stack(link.commands), tuple(link.played), stopped,
    )  # fmt: skip


class _LockStepLink:
    """A ControlLink on whose other end a policy thinks while the clock stands still."""

    def __init__(self, hand: SimHand, think: Thinker, pace: Pace, judge: Judge, linger_s: float) -> None:
        self._hand, self._think, self._pace, self.judge, self._linger_s = hand, think, pace, judge, linger_s
        self.request_stop: Callable[[str], None] = lambda reason: None
        self.states: list[np.ndarray] = []
        self.commands: list[np.ndarray] = []
        self.played: list[tuple[Chunk, int]] = []
        self._stand = Stand()
        self._chunking = Chunking(pace.chunking, pace.period_ns)
        self._coming: Chunk | None = None
        self._now_ns = self._think_at_ns = self._arrives_ns = 0
        self._request = 0

    def take_chunk(self) -> Chunk | None:
        if self._coming is None or self._hand_time_ns() < self._arrives_ns:
            return None
        chunk, self._coming = self._coming, None
        return chunk

    def policy_lost(self) -> bool:
        return False

    def _hand_time_ns(self) -> int:
        return self._now_ns + ControlSettings().period_ns  # chunks are taken in the tick after the last one published

    def publish(self, state: HandState, command: np.ndarray, stand: Stand) -> None:
        self._now_ns, self._stand = state.stamp_ns, stand
        self.states.append(state.vector)
        self.commands.append(command.copy())
        seconds = state.stamp_ns / 1e9
        verdict = self.judge.look(self._hand.world.depths_m(), seconds)
        if verdict != "running":
            if seconds >= self.judge.seconds + self._linger_s:
                self.request_stop(verdict)
            if self._linger_s == 0:
                return
        due = self._coming is None and state.stamp_ns >= self._think_at_ns
        if due and self._chunking.may_observe(stand, state.stamp_ns):
            delay_ns = self._pace.delay_ns + ControlSettings().period_ns
            moment = Moment(state.vector, scene_of(self._hand.world), seconds, self._chunking.plan(stand), delay_ns)
            proposed = Chunk(self._think(moment), state.vector, state.stamp_ns, self._request, stand.episode)
            self._coming = self._chunking.next_chunk(proposed, stand)
            self._request += 1
            self._arrives_ns = state.stamp_ns + self._pace.delay_ns
            self._think_at_ns = state.stamp_ns + max(self._pace.replan_ns, self._pace.delay_ns)

    def log_tick(self, slot_ns: int, late_ns: int, state: HandState, command: np.ndarray, holding: bool) -> None:
        pass

    def log_chunk(self, chunk: Chunk, now_ns: int, verdict: str, dropped: int) -> None:
        if verdict == "used":
            self.played.append((chunk_to_play(chunk, now_ns, self._stand.resting_since_ns), now_ns))
