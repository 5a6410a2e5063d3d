"""The control loop: chunks and the measured hand in, one limited command per period out, until the safe stop.

Every period has an absolute deadline. A loop that is too late for some periods skips them and continues on the same
grid. Every run ends in the same way, whether it was stopped, ran out of time or failed: decelerate, hold, report.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import NamedTuple

import numpy as np

from vpp_edge.clock import Clock
from vpp_edge.errors import HardwareFaultError, VppEdgeError
from vpp_edge.runtime.control.chunk_player import ChunkPlayer, chunk_fault, chunk_to_play
from vpp_edge.runtime.control.contract import Cause, ControlLink, ControlReport, ControlSettings
from vpp_edge.runtime.control.guards import (
    GuardError,
    OverrunGuard,
    RunawayGuard,
    TrackingGuard,
    UnusableChunksError,
)
from vpp_edge.runtime.control.limits import Limiter
from vpp_edge.runtime.control.statistics import LoopStatistics
from vpp_edge.runtime.interfaces import Chunk, Hand
from vpp_edge.runtime.ipc.counters import ChunkCounts, Verdict
from vpp_edge.runtime.ipc.loop_state import MOVING, LoopState

REJECTED_IN_A_ROW = 3  # then the policy is broken, not unlucky


class _Slot(NamedTuple):
    """The slot of the grid that a tick serves.

    Attributes:
        deadline_ns: of the slot; `woke_ns`: when the loop woke.
        late_ns: how much later than the deadline that it slept for.
        skipped: how many slots before this one were not served.
    """

    deadline_ns: int
    woke_ns: int
    late_ns: int
    skipped: int


class ControlLoop:
    """Runs one hand in the calling thread; `request_stop` and `interrupt` may be called from any thread.

    Args:
        horizon: T targets per chunk, `action_period_ns` apart.

    Attributes:
        state: where the loop is, as it is published.
        counts: what happened to the chunks so far.
        started_ns: when the first chunk was used; None before.
    """

    def __init__(
        self,
        hand: Hand,
        link: ControlLink,
        clock: Clock,
        horizon: int,
        action_period_ns: int,
        settings: ControlSettings,
    ) -> None:
        self._hand, self._link, self._clock, self.settings = hand, link, clock, settings
        self._horizon = horizon
        self.dims = hand.limits.pose_dims
        self.limiter = Limiter(hand.limits, settings.period_ns)
        self.statistics = LoopStatistics(settings.late_ns)
        self.tracking = TrackingGuard(hand.limits)
        self._overruns, self._runaway = OverrunGuard(), RunawayGuard()
        self._player = ChunkPlayer(horizon, self.dims, action_period_ns)
        self._target = np.zeros(self.dims)
        self.state = LoopState()
        self.counts = ChunkCounts()
        self._requested: tuple[int, np.ndarray | None] = (self.state.episode, None)
        self._rest_at: np.ndarray | None = None
        self._stop: tuple[str, bool, Cause] | None = None
        self.started_ns: int | None = None
        self._rejected_in_a_row = 0
        self._holding = True
        self._obstructed = False

    def request_stop(self, reason: str, failed: bool = False, cause: Cause = Cause.REQUESTED) -> None:
        """Ends the run through the safe stop; the first reason counts. Safe in signal handlers and threads."""
        if self._stop is None:
            self._stop = (reason, failed, cause)

    def interrupt(self, rest_at: np.ndarray | None = None) -> int:
        """Drops the chunk being executed and all that are on their way: decelerate and hold until a fresh one.

        Args:
            rest_at: (7 + J,) where to hold, reached within the limits; None: where the hand comes to rest.

        Returns:
            the number of the episode that begins with the next tick.
        """
        episode = self._requested[0] + 1
        self._requested = (episode, rest_at)
        return episode

    @property
    def chunk_s(self) -> float:
        """How long a chunk lasts from its observation."""
        return self._horizon * self._player.period_ns / 1e9

    @property
    def ending(self) -> bool:
        """Whether it has been told to stop."""
        return self._stop is not None

    @property
    def moving(self) -> bool:
        """Whether the first chunk has been used."""
        return self.started_ns is not None

    def run(self) -> ControlReport:
        """Ticks until it is told to stop, out of time or in error; then decelerates, holds and reports.

        Raises:
            Exception: anything but a VppEdgeError is a bug; it is raised again after the hand was held.
        """
        bug: Exception | None = None
        deadline_ns = self._clock.now_ns()
        try:
            self.limiter.reset(self._hand.read().vector)
            self.statistics.restart(deadline_ns)
            deadline_ns += self.settings.period_ns
            while self._stop is None:
                deadline_ns = self._tick(deadline_ns) + self.settings.period_ns
        except KeyboardInterrupt:  # where no signal handler could be installed
            self.request_stop("Ctrl-C", cause=Cause.SIGNAL)
        except GuardError as error:
            self._obstructed = error.cause == Cause.OBSTRUCTED
            self.request_stop(f"fault: {error}", failed=True, cause=error.cause)
        except VppEdgeError as error:
            self.request_stop(f"fault: {error}", failed=True, cause=Cause.HAND_FAULT)
        except Exception as error:  # noqa: BLE001 - raised again below, after the hand was held
            bug = error
            self.request_stop(f"bug: {type(error).__name__}: {error}", failed=True, cause=Cause.BUG)
        report = self._stop_safely(deadline_ns)
        if bug is not None:
            raise bug
        return report

    def _tick(self, deadline_ns: int) -> int:
        """One period; returns the deadline of the slot that was served."""
        slot = self._wait_for_slot(deadline_ns)
        deadline_ns = slot.deadline_ns
        self._overruns.check(slot.skipped)
        state = self._hand.read()
        if not self.settings.dry_run:
            self.tracking.check(state.vector, self.limiter.command, state.stamp_ns)
        if self._link.policy_lost():
            self.interrupt()
        self._enter_requested_episode()
        self._take_chunks(deadline_ns)
        self._runaway.check(self.limiter.counts.speed, deadline_ns)
        command = self._next_command(deadline_ns)
        self._note_rest(state.stamp_ns)
        if not self.settings.dry_run:
            self._hand.send(command)
        self._link.publish(state, command, self.state)
        self._link.log_tick(deadline_ns, slot.late_ns, state, command, holding=self._holding)
        self.statistics.add(slot.woke_ns, slot.late_ns, self._clock.now_ns() - slot.woke_ns, slot.skipped)
        self._check_duration(deadline_ns)
        return deadline_ns

    def _wait_for_slot(self, deadline_ns: int) -> _Slot:
        """Sleeps until the deadline, or the next one that is still ahead."""
        period_ns = self.settings.period_ns
        overrun_ns = self._clock.now_ns() - deadline_ns
        # After a tick that took too long, the next command is on the grid again, and no sooner than half a period.
        skipped = (overrun_ns + period_ns // 2) // period_ns + 1 if overrun_ns > 0 else 0
        deadline_ns += skipped * period_ns
        self._clock.sleep_until_ns(deadline_ns)
        woke_ns = self._clock.now_ns()
        late_ns = woke_ns - deadline_ns
        overslept = late_ns // period_ns
        return _Slot(deadline_ns + overslept * period_ns, woke_ns, late_ns, skipped + overslept)

    def _enter_requested_episode(self) -> None:
        if self._requested[0] != self.state.episode:
            self.state.episode, self._rest_at = self._requested
            self._player.clear()

    def _take_chunks(self, now_ns: int) -> None:
        self.counts.lost = self._link.chunks_lost()
        while (chunk := self._link.take_chunk()) is not None:
            verdict, dropped = self._judge(chunk, now_ns)
            self._link.log_chunk(chunk, now_ns, verdict, dropped)
            if self._rejected_in_a_row >= REJECTED_IN_A_ROW:
                fault = chunk_fault(chunk, self._horizon, self.dims)
                raise UnusableChunksError(f"the policy gave {REJECTED_IN_A_ROW} unusable chunks in a row: {fault}")

    def _judge(self, chunk: Chunk, now_ns: int) -> tuple[Verdict, int]:
        """Hands the chunk to the player unless it is unusable; the verdict, and how many of its actions had passed."""
        state, counts = self.state, self.counts
        if chunk.episode != state.episode or chunk.request <= state.request:
            counts.old += 1
            state.request = max(state.request, chunk.request)
            return Verdict.OLD, self._horizon
        state.request = chunk.request
        if chunk_fault(chunk, self._horizon, self.dims) is not None:
            counts.rejected += 1
            self._rejected_in_a_row += 1
            return Verdict.REJECTED, self._horizon
        self._rejected_in_a_row = 0
        played = chunk_to_play(chunk, now_ns, state)
        counts.waited_for += played is not chunk
        dropped = self._player.accept(played, now_ns, self.limiter.ahead, self.limiter.speed)
        if dropped is None:
            counts.late += 1
            return Verdict.LATE, self._horizon
        state.playing, state.playing_from_ns = chunk.request, played.observed_ns
        counts.used += 1
        counts.actions_dropped += dropped
        if self.started_ns is None:  # the wait for the first chunk is not part of the run
            self.started_ns = now_ns
            self.statistics.restart(now_ns)
        return Verdict.USED, dropped

    def _next_command(self, now_ns: int) -> np.ndarray:
        live = self._player.sample(now_ns, self._target)
        if not live and not self._holding:
            self.counts.holds += 1
        self._holding = not live
        if not live:
            self.state.playing = -1
        return self.limiter.step(self._target if live else self._rest_at)

    def _note_rest(self, stamp_ns: int) -> None:
        resting = self._holding and self.limiter.at_rest
        if not resting:
            self.state.resting_since_ns = MOVING
        elif self.state.resting_since_ns == MOVING:
            self.state.resting_since_ns = stamp_ns

    def _check_duration(self, now_ns: int) -> None:
        duration_ns = self.settings.duration_ns
        if duration_ns is not None and self.started_ns is not None and now_ns - self.started_ns >= duration_ns:
            self.request_stop("end of the duration", cause=Cause.DURATION)

    def _stop_safely(self, deadline_ns: int) -> ControlReport:
        """The only way out. Whatever fails here, the hand is still told to hold, and the report says what failed."""
        reason, failed, cause = self._stop or ("no reason given", True, Cause.BUG)
        loop = self.statistics.report()
        start_ns, held, trouble = self._clock.now_ns(), False, ""
        try:
            if not self._obstructed:  # an obstacle must not be pushed for the length of a deceleration
                self._decelerate(deadline_ns, start_ns + self.settings.stop_ns)
        except HardwareFaultError:  # a hand that has stopped by itself accepts no commands, and needs none
            failed, trouble = True, "; it could not be slowed down first"
        except Exception as error:  # noqa: BLE001 - of any kind: holding comes next in any case
            failed, trouble = True, f"; deceleration failed: {error}"
        stop_ns = self._clock.now_ns() - start_ns
        try:
            if not self.settings.dry_run:
                self._hand.hold()
            held = True
        except Exception as error:  # noqa: BLE001 - of any kind: the report must say that the hand is not held
            failed, trouble = True, f"{trouble}; the hand did not answer the hold: {error}"
        outcome = "hand held" if held and not self.settings.dry_run else "nothing was sent" if held else "NOT held"
        return ControlReport(
            ended=f"{reason}: {outcome}{trouble}",
            cause=cause,
            failed=failed,
            held=held,
            loop=loop,
            chunks=dataclasses.replace(self.counts),
            clamps=dict(vars(self.limiter.counts)),
            stop_ms=stop_ns / 1e6,
        )

    def _decelerate(self, deadline_ns: int, latest_ns: int) -> None:
        while not self.limiter.at_rest and deadline_ns < latest_ns:
            deadline_ns = max(deadline_ns, self._clock.now_ns())
            self._clock.sleep_until_ns(deadline_ns)
            command = self.limiter.step(None)
            if not self.settings.dry_run:
                self._hand.send(command)
            with contextlib.suppress(VppEdgeError):  # a hand that cannot be read can still be slowed down
                self._link.publish(self._hand.read(), command, self.state)
            deadline_ns += self.settings.period_ns
