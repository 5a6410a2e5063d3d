"""The control loop: in, chunks as they come and the measured hand; out, one limited command per period, to the end.

Every period has an absolute deadline. A loop that is too late for some skips them and goes on in the grid. However a
run ends (asked, out of time, or by an error) it takes the one way out: decelerate, hold, report.
"""

from __future__ import annotations

import contextlib

import numpy as np

from vpp_edge.clock import Clock
from vpp_edge.errors import HardwareFaultError, VppEdgeError
from vpp_edge.runtime.control.chunk_player import Chunk, ChunkPlayer, chunk_fault, chunk_to_play
from vpp_edge.runtime.control.contract import (
    MOVING,
    ChunkCounts,
    ControlLink,
    ControlReport,
    ControlSettings,
    Stand,
)
from vpp_edge.runtime.control.guards import ObstructedError, OverrunGuard, RunawayGuard, TrackingGuard
from vpp_edge.runtime.control.limits import Limiter
from vpp_edge.runtime.control.statistics import LoopStatistics
from vpp_edge.runtime.interfaces import Hand

REJECTED_IN_A_ROW = 3  # then the policy is broken, not unlucky


class ControlLoop:
    """Runs one hand in the calling thread; `request_stop` and `interrupt` may come from anywhere.

    Args:
        horizon: T targets per chunk, `action_period_ns` apart.
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
        self.dims = 7 + len(hand.limits.joint_names)
        self.limiter = Limiter(hand.limits, settings.period_ns)
        self.statistics = LoopStatistics(settings.late_ns)
        self.tracking = TrackingGuard(hand.limits)
        self._overruns, self._runaway = OverrunGuard(), RunawayGuard()
        self._player = ChunkPlayer(horizon, self.dims, action_period_ns)
        self._target = np.zeros(self.dims)
        self.stand = Stand()
        self._wanted: tuple[int, np.ndarray | None] = (self.stand.episode, None)
        self._rest_at: np.ndarray | None = None
        self._stop: tuple[str, bool] | None = None
        self.started_ns: int | None = None
        self._rejected_in_a_row = 0
        self._holding = True
        self._obstructed = False
        self.used = self.waited_for = self.rejected = self.late = self.old = self.actions_dropped = self.holds = 0

    def request_stop(self, reason: str, failed: bool = False) -> None:
        """Ends the run through the safe stop; the first reason counts. Safe in signal handlers and threads."""
        if self._stop is None:
            self._stop = (reason, failed)

    def interrupt(self, rest_at: np.ndarray | None = None) -> int:
        """Drops the chunk being executed and everything still on its way: decelerate and hold until a fresh one.

        Args:
            rest_at: (7 + J,) where to hold, reached within the limits; None: where the hand comes to rest.

        Returns:
            the number of the episode that begins with the next tick.
        """
        episode = self._wanted[0] + 1
        self._wanted = (episode, rest_at)
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
        """Whether the first chunk has come."""
        return self.started_ns is not None

    def run(self) -> ControlReport:
        """Ticks until asked to stop, out of time or in error; then decelerates, holds and reports.

        Raises:
            Exception: what is no VppEdgeError is a bug; it is raised again, after the hand was held.
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
            self.request_stop("Ctrl-C")
        except ObstructedError as error:
            self._obstructed = True
            self.request_stop(f"fault: {error}", failed=True)
        except VppEdgeError as error:
            self.request_stop(f"fault: {error}", failed=True)
        except Exception as error:  # noqa: BLE001 - raised again below, after the hand was held
            bug = error
            self.request_stop(f"bug: {type(error).__name__}: {error}", failed=True)
        report = self._stop_safely(deadline_ns)
        if bug is not None:
            raise bug
        return report

    def _tick(self, deadline_ns: int) -> int:
        """One period; returns the deadline of the slot that was served."""
        clock, period_ns = self._clock, self.settings.period_ns
        overrun_ns = clock.now_ns() - deadline_ns
        # After a tick that took too long, the next command comes on the grid again, and no sooner than half a period.
        skipped = (overrun_ns + period_ns // 2) // period_ns + 1 if overrun_ns > 0 else 0
        deadline_ns += skipped * period_ns
        clock.sleep_until_ns(deadline_ns)
        woke_ns = clock.now_ns()
        late_ns = woke_ns - deadline_ns
        overslept = late_ns // period_ns
        skipped, deadline_ns = skipped + overslept, deadline_ns + overslept * period_ns
        self._overruns.check(skipped)
        state = self._hand.read()
        if not self.settings.dry_run:
            self.tracking.check(state.vector, self.limiter.command, state.stamp_ns)
        if self._link.policy_lost():
            self.interrupt()
        if self._wanted[0] != self.stand.episode:
            self.stand.episode, self._rest_at = self._wanted
            self._player.clear()
        self._take_chunks(deadline_ns)
        self._runaway.check(self.limiter.counts.speed, deadline_ns)
        command = self._next_command(deadline_ns)
        self._note_rest(state.stamp_ns)
        if not self.settings.dry_run:
            self._hand.send(command)
        self._link.publish(state, command, self.stand)
        self._link.log_tick(deadline_ns, late_ns, state, command, self._holding)
        self.statistics.add(woke_ns, late_ns, clock.now_ns() - woke_ns, skipped)
        self._check_duration(deadline_ns)
        return deadline_ns

    def _take_chunks(self, now_ns: int) -> None:
        while (chunk := self._link.take_chunk()) is not None:
            verdict, dropped = self._judge(chunk, now_ns)
            self._link.log_chunk(chunk, now_ns, verdict, dropped)
            if self._rejected_in_a_row >= REJECTED_IN_A_ROW:
                fault = chunk_fault(chunk, self._horizon, self.dims)
                raise HardwareFaultError(f"the policy gave {REJECTED_IN_A_ROW} unusable chunks in a row: {fault}")

    def _judge(self, chunk: Chunk, now_ns: int) -> tuple[str, int]:
        if chunk.episode != self.stand.episode or chunk.request <= self.stand.request:
            self.old += 1
            self.stand.request = max(self.stand.request, chunk.request)
            return "old", self._horizon
        self.stand.request = chunk.request
        if chunk_fault(chunk, self._horizon, self.dims) is not None:
            self.rejected += 1
            self._rejected_in_a_row += 1
            return "rejected", self._horizon
        self._rejected_in_a_row = 0
        played = chunk_to_play(chunk, now_ns, self.stand.resting_since_ns)
        self.waited_for += played is not chunk
        dropped = self._player.accept(played, now_ns, self.limiter.ahead, self.limiter.speed)
        if dropped < 0:
            self.late += 1
            return "late", self._horizon
        self.stand.playing, self.stand.playing_from_ns = chunk.request, played.observed_ns
        self.used += 1
        self.actions_dropped += dropped
        if self.started_ns is None:  # the wait for the first chunk is no part of the run
            self.started_ns = now_ns
            self.statistics.restart(now_ns)
        return "used", dropped

    def _next_command(self, now_ns: int) -> np.ndarray:
        live = self._player.sample(now_ns, self._target)
        if not live and not self._holding:
            self.holds += 1
        self._holding = not live
        if not live:
            self.stand.playing = -1
        return self.limiter.step(self._target if live else self._rest_at)

    def _note_rest(self, stamp_ns: int) -> None:
        resting = self._holding and self.limiter.at_rest
        if not resting:
            self.stand.resting_since_ns = MOVING
        elif self.stand.resting_since_ns == MOVING:
            self.stand.resting_since_ns = stamp_ns

    def _check_duration(self, now_ns: int) -> None:
        duration_ns = self.settings.duration_ns
        if duration_ns is not None and self.started_ns is not None and now_ns - self.started_ns >= duration_ns:
            self.request_stop("end of the duration")

    def _stop_safely(self, deadline_ns: int) -> ControlReport:
        """The one way out. Whatever fails here, the hand is still told to hold, and the report says what failed."""
        reason, failed = self._stop or ("no reason given", True)
        loop = self.statistics.report()
        start_ns, held, trouble = self._clock.now_ns(), False, ""
        try:
            if not self._obstructed:  # what is in the way is not to be pushed for the length of a deceleration
                self._decelerate(deadline_ns, start_ns + self.settings.stop_ns)
        except HardwareFaultError:  # a hand that has stopped by itself takes no more commands, and need not
            failed, trouble = True, "; it could not be slowed down first"
        except Exception as error:  # noqa: BLE001 - of any kind: holding comes next in any case
            failed, trouble = True, f"; deceleration failed: {error}"
        stop_ns = self._clock.now_ns() - start_ns
        try:
            if not self.settings.dry_run:
                self._hand.hold()
            held = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the report must say that the hand is not held
            failed, trouble = True, f"{trouble}; the hand did not answer the hold: {error}"
        outcome = "hand held" if held and not self.settings.dry_run else "nothing was sent" if held else "NOT held"
        counts = ChunkCounts(
            self.used, self.waited_for, self.rejected, self.late, self.old, self.actions_dropped, self.holds
        )
        return ControlReport(
            ended=f"{reason}: {outcome}{trouble}",
            failed=failed,
            held=held,
            loop=loop,
            chunks=counts,
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
                self._link.publish(self._hand.read(), command, self.stand)
            deadline_ns += self.settings.period_ns
