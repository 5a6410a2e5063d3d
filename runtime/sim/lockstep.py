"""Plays episodes in simulated time: deterministic, and independent of the speed of the machine.

The hand is driven by the real control loop with its limits, chunks and hand-overs; only the clock and the other
processes are replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vpp_edge.clock import FakeClock
from vpp_edge.runtime.control.chunk_player import chunk_to_play
from vpp_edge.runtime.control.contract import ControlSettings
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import Chunk, HandState
from vpp_edge.runtime.ipc.counters import Verdict
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.policy.act_schedule import ActSchedule
from vpp_edge.runtime.policy.chunk_handover import ChunkHandover
from vpp_edge.runtime.policy.handover_modes import NAIVE
from vpp_edge.runtime.sim.hand import SimHand
from vpp_edge.runtime.sim.task import Episode, Judge
from vpp_edge.runtime.sim.world import scene_of

STOPPED = "stopped"  # a verdict of the control loop: it refused to go on


@dataclass(frozen=True)
class SimObservation:
    """What is known at one moment of an episode.

    Attributes:
        state: (19,) pose of the hand.
        scene: (8,) as in `world.scene_of`, for rendering.
        seconds: since the start of the episode.
        previous: the chunk that the next one has to continue, if any; its request counts the observations.
        delay_ns: upper bound of the time from now until the hand follows the next chunk.
        seen: the earlier observation whose images the next chunk is made from; None: those of this one.
    """

    state: np.ndarray
    scene: np.ndarray
    seconds: float
    previous: Chunk | None = None
    delay_ns: int = 0
    seen: SimObservation | None = None

    @property
    def stamp_ns(self) -> int:
        return round(self.seconds * 1e9)


TargetFunction = Callable[[SimObservation], np.ndarray]


@dataclass(frozen=True)
class Pace:
    """When a policy infers, and how long it takes.

    Attributes:
        period_ns: between two actions of a chunk.
        replan_ns: from one observation to the next.
        delay_ns: from an observation to its chunk; the next observation waits for it.
        chunking: how one chunk hands over to the next, one of `handover_modes.MODES`.
        acts_per_look: chunks made from the images of one observation. With more than one, each is made from the state
            of the hand `act_delay_ns` before it arrives, the first one arrives as above, and the others follow evenly
            until the first one of the next observation.
        act_delay_ns: from a state of the hand to its chunk, part of `delay_ns`.
    """

    period_ns: int = 100_000_000
    replan_ns: int = 200_000_000
    delay_ns: int = 0
    chunking: str = NAIVE
    acts_per_look: int = 1
    act_delay_ns: int = 0

    @property
    def interval_ns(self) -> int:
        """From one observation to the next."""
        return max(self.replan_ns, self.delay_ns)

    @property
    def chunk_delay_ns(self) -> int:
        """From the state of the hand that a chunk is made from to its arrival."""
        return self.delay_ns if self.acts_per_look == 1 else self.act_delay_ns


@dataclass(frozen=True)
class Outcome:
    """The outcome of one episode.

    Attributes:
        verdict: of the Judge, or STOPPED.
        pressed: the buttons that were down at the verdict.
        seconds: time of the verdict.
        states: (n, 19) measured, one per tick of the control loop.
        commands: (n, 19) sent.
        played: the chunks that were executed, each with the monotonic time of its start.
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
    targets: TargetFunction,
    horizon: int,
    pace: Pace = Pace(),
    *,
    time_limit_s: float | None = None,
    linger_s: float = 0.0,
) -> Outcome:
    """Plays one episode until its verdict, and `linger_s` longer.

    Args:
        targets: returns (T, 19) targets, the first one due `pace.period_ns` after its observation.
        horizon: T.
    """
    clock = FakeClock()
    with SimHand(clock, episode) as hand:
        link = _LockStepLink(hand, targets, pace, Judge(episode, time_limit_s), linger_s=linger_s)
        loop = ControlLoop(
            hand, link, clock, horizon=horizon, action_period_ns=pace.period_ns, settings=ControlSettings()
        )
        link.request_stop = loop.request_stop
        report = loop.run()
    judge = link.judge
    stopped = report.ended if judge.verdict == "running" else ""
    return Outcome(
        seed=episode.seed,
        colour=episode.colour,
        verdict=STOPPED if stopped else judge.verdict,
        pressed=judge.pressed,
        seconds=judge.seconds,
        states=np.stack(link.states),
        commands=np.stack(link.commands),
        played=tuple(link.played),
        stopped=stopped,
    )


class _LockStepLink:
    """A ControlLink to a policy that computes its chunks while the clock stands still."""

    def __init__(self, hand: SimHand, targets: TargetFunction, pace: Pace, judge: Judge, *, linger_s: float) -> None:
        self._hand, self._targets, self._pace, self.judge, self._linger_s = hand, targets, pace, judge, linger_s
        self.request_stop: Callable[[str], None] = lambda reason: None
        self.states: list[np.ndarray] = []
        self.commands: list[np.ndarray] = []
        self.played: list[tuple[Chunk, int]] = []
        self._loop_state = LoopState()
        self._handover = ChunkHandover(pace.chunking, pace.period_ns)
        self._pending: Chunk | None = None
        self._look: SimObservation | None = None  # being perceived
        self._perceived: SimObservation | None = None  # the last one that was
        self._schedule = ActSchedule(pace.acts_per_look)
        self._now_ns = self._observe_at_ns = self._arrives_ns = 0
        self._request = 0

    def take_chunk(self) -> Chunk | None:
        next_tick_ns = self._now_ns + ControlSettings().period_ns  # the tick after the last one that was published
        if self._pending is None or next_tick_ns < self._arrives_ns:
            return None
        chunk, self._pending = self._pending, None
        return chunk

    def chunks_lost(self) -> int:
        return 0

    def policy_lost(self) -> bool:
        return False

    def publish(self, state: HandState, command: np.ndarray, loop_state: LoopState) -> None:
        self._now_ns, self._loop_state = state.stamp_ns, loop_state
        self.states.append(state.vector)
        self.commands.append(command.copy())
        seconds = state.stamp_ns / 1e9
        verdict = self.judge.look(self._hand.world.depths_m(), seconds)
        if verdict != "running":
            if seconds >= self.judge.seconds + self._linger_s:
                self.request_stop(verdict)
            if self._linger_s == 0:
                return
        if self._pending is None:
            self._look_and_act(state, loop_state)

    def _look_and_act(self, state: HandState, loop_state: LoopState) -> None:
        """Takes and uses observations at their times; perceiving takes what `delay_ns` leaves beside the act."""
        pace, now_ns = self._pace, state.stamp_ns
        self._perceive(now_ns)
        if now_ns >= self._observe_at_ns and self._handover.may_observe(loop_state, now_ns):
            self._look = SimObservation(state=state.vector, scene=scene_of(self._hand.world), seconds=now_ns / 1e9)
            self._observe_at_ns = now_ns + pace.interval_ns
            self._perceive(now_ns)
        if self._perceived is not None and self._schedule.due(now_ns):
            seen, newest = self._perceived, replace(self._perceived, state=state.vector, seconds=now_ns / 1e9)
            self._act(seen if self._schedule.first else newest, seen, now_ns, loop_state)
            self._schedule.acted(now_ns)

    def _perceive(self, now_ns: int) -> None:
        """Makes the last observation the one to act on, once perceiving it is over."""
        look, pace = self._look, self._pace
        if look is None or now_ns < look.stamp_ns + pace.delay_ns - pace.chunk_delay_ns:
            return
        self._look, self._perceived = None, look
        self._schedule.begin(now_ns, pace.interval_ns)

    def _act(self, moment: SimObservation, seen: SimObservation, now_ns: int, loop_state: LoopState) -> None:
        """Computes a chunk from the hand's state of one moment and the images of another; it arrives after a while."""
        arrives_ns = now_ns + self._pace.chunk_delay_ns
        observation = replace(
            moment,
            previous=self._handover.chunk_to_continue(loop_state),
            delay_ns=arrives_ns - moment.stamp_ns + ControlSettings().period_ns,
            seen=seen,
        )
        inferred = Chunk(
            targets=self._targets(observation),
            anchor=moment.state,
            observed_ns=moment.stamp_ns,
            request=self._request,
            episode=loop_state.episode,
            image_age_ns=moment.stamp_ns - seen.stamp_ns,
        )
        self._pending = self._handover.chunk_to_play(inferred, loop_state)
        self._request += 1
        self._arrives_ns = arrives_ns

    def log_tick(self, slot_ns: int, late_ns: int, state: HandState, command: np.ndarray, holding: bool) -> None:
        pass

    def log_chunk(self, chunk: Chunk, now_ns: int, verdict: Verdict, dropped: int) -> None:
        if verdict is Verdict.USED:
            self.played.append((chunk_to_play(chunk, now_ns, self._loop_state), now_ns))
