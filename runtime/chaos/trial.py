"""A trial: one live run with an injected fault, in which every command and counter is logged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vpp_edge.errors import CheckFailedError, InconclusiveError
from vpp_edge.runtime.chaos.injection import PolicyInjection, UnreliableCamera
from vpp_edge.runtime.chaos.orders import FaultOrders
from vpp_edge.runtime.chaos.pace import Pace, stop_if_interrupted
from vpp_edge.runtime.chaos.watched_hand import CommandLog, WatchedHand
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import CameraSource, Hand
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.counters import CameraCounts, ChunkCounts, PolicyCounts, names_of
from vpp_edge.runtime.ipc.loop_state import LoopState, Phase
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.report import RunReport
from vpp_edge.runtime.session.run import run_session

SETTLE_S = 0.6  # of motion before the fault
BUSY_SHARE = 0.5  # of the time: a policy that had less to do was not asked for the answers that are missing
ENDING = "ending"  # whether the loop is stopping
LOOP_STATE = names_of(LoopState)
CHUNKS = names_of(ChunkCounts)
POLICY = (*names_of(PolicyCounts), "spread_ns", "pid", "phase")
CAMERA = (*names_of(CameraCounts), "pid")


@dataclass(frozen=True)
class TrialSetup:
    """What every trial runs.

    Attributes:
        cameras: one for each view of the policy.
        open_hand: opens a new hand for each trial.
        options: further fields of SessionConfig.
        soak_s: how long the memory trial measures.
        pace: of the policy.
    """

    bundle: str
    cameras: tuple[CameraSource, ...]
    instruction: str
    open_hand: Callable[[], Hand]
    options: dict[str, Any] = field(default_factory=dict)
    soak_s: float = 10.0
    pace: Pace = field(default_factory=Pace)

    def config(self, hand: Hand) -> SessionConfig:
        """The configuration of a run without faults."""
        return SessionConfig(
            bundle=self.bundle, cameras=self.cameras, hand=hand, instruction=self.instruction, **self.options
        )

    @property
    def last_view(self) -> int:
        """Index of the view whose camera fails."""
        return len(self.cameras) - 1


def never(trial: Trial) -> float | None:
    """The event of a trial whose run has to end by itself."""
    return None


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """What only answers of the policy can bring about.

    Attributes:
        event: when it happened, in ms after the injection; None: not yet. Called during the run, so it must be quick.
        answers: how many answers after the injection it takes at most; `loads`: how often the policy is loaded for it.
        delay_s: how much later the fault itself makes them.
    """

    event: Callable[[Trial], float | None] = never
    answers: int
    loads: int = 0
    delay_s: float = 0.0


class Trial(CommandLog):
    """One run with a fault. Times of its methods count from the injection.

    Args:
        inject: called once, when the hand has moved for SETTLE_S and is moving.
        seconds: time from the injection to the end, if nothing else ends the run.
        awaited: the trial goes on until it has happened, as long as that can take at the policy's pace.
        settle_answers: of the policy before the injection.
        later: further actions and when to call them, in seconds after the injection.
        on_poll: called 20 times a second after the injection.
        stops_itself: whether the fault is a signal to this process; any other one interrupts the whole command.
        changes: fields of SessionConfig that differ from the setup's.

    Attributes:
        orders: for `inject` and the other callbacks, as are `hand`, `loop` and `channels` while the run lasts.
        report: of the run, when it is over.
        started_ns, loaded_ns: when the run started, when the policy first ran.
    """

    def __init__(
        self,
        setup: TrialSetup,
        inject: Callable[[Trial], None],
        seconds: float,
        *,
        awaited: Awaited | None = None,
        settle_answers: int = 1,
        later: tuple[tuple[float, Callable[[Trial], None]], ...] = (),
        on_poll: Callable[[Trial], None] = lambda trial: None,
        stops_itself: bool = False,
        **changes: Any,
    ) -> None:
        super().__init__()
        self._setup, self._inject, self._seconds = setup, inject, seconds
        self._awaited, self._settle_answers, self._stops_itself = awaited, settle_answers, stops_itself
        pace = setup.pace
        self._settle_s = SETTLE_S + pace.patience_s(settle_answers + 1)
        self._patience_s = awaited.delay_s + pace.patience_s(awaited.answers, awaited.loads) if awaited else 0.0
        self._later, self._on_poll = list(later), on_poll
        self._changes = changes
        self.orders = FaultOrders()
        self.loop: ControlLoop
        self.channels: Channels
        self.report: RunReport
        self.started_ns = self.loaded_ns = 0
        self._silent = False  # the policy, so that nothing could be injected
        self._overdue = False  # the trial ended before it saw what it waited for

    def run(self) -> Trial:
        """Runs to the end.

        Raises:
            CheckFailedError: the run ended before the fault was injected.
            InconclusiveError: so it did because the policy gave no answer.
            KeyboardInterrupt: a signal ended the run that was not its fault.
            Exception: whatever `run_session` raises.
        """
        setup = self._setup
        log_s = setup.pace.start_s + self._settle_s + self._seconds + self._patience_s
        cameras = tuple(UnreliableCamera(camera, i, self.orders) for i, camera in enumerate(setup.cameras))
        try:
            with WatchedHand(setup.open_hand(), log_s) as self.hand:
                config = replace(
                    setup.config(self.hand),
                    cameras=cameras,
                    start_s=setup.pace.start_s,
                    wrap_policy=PolicyInjection(self.orders),
                    **self._changes,
                )
                self.started_ns = time.monotonic_ns()
                try:
                    self.report = run_session(config, RunHooks(on_poll=self._poll))
                finally:
                    self.logged = self.hand.count
        finally:
            self.orders.close()
        if not (self._stops_itself and self.injected_ns):
            stop_if_interrupted(self.report)
        if not self.injected_ns:
            waited = self.report.control.cause in (Cause.REQUESTED, Cause.NO_FIRST_CHUNK)
            error = InconclusiveError if waited and self._silent else CheckFailedError
            raise error(f"the run ended before anything was injected: {self.report.ended}")
        return self

    def _poll(self, loop: ControlLoop, channels: Channels) -> None:
        if not self.columns:
            self.loop, self.channels = loop, channels
            self.columns = {name: i for i, name in enumerate(self._names())}
            self.hand.set_probe(self._probe)
        self.logged, now_ns = self.hand.count, time.monotonic_ns()
        if not self.loaded_ns and channels.policy["inferences"]:
            self.loaded_ns = now_ns
        if not self.injected_ns and not self._inject_when_settled(now_ns):
            return
        while self._later and now_ns - self.injected_ns >= self._later[0][0] * 1e9:
            self._later.pop(0)[1](self)
        self._on_poll(self)
        if now_ns - self.injected_ns >= self._seconds * 1e9 and self._seen_or_overdue(now_ns):
            self.end()

    def _inject_when_settled(self, now_ns: int) -> bool:
        """Injects the fault if the hand moves and has done so for long enough; whether it did."""
        started_ns, board = self.loop.started_ns, self.channels.policy
        if not self.loop.ending:
            self._silent = board["phase"] != Phase.RUNNING and board["inferences"] <= self._settle_answers
        if started_ns is None:
            return False
        moving = self.loop.state.playing >= 0 and board["inferences"] >= self._settle_answers
        if moving and now_ns - started_ns >= SETTLE_S * 1e9:
            self.injected_ns = time.monotonic_ns()
            self._inject(self)
            return True
        if now_ns - started_ns >= self._settle_s * 1e9:
            self.loop.request_stop(f"for {self._settle_s:.1f} s there was no chunk to move the hand with")
        return False

    def _seen_or_overdue(self, now_ns: int) -> bool:
        if self._awaited is None or self.awaited_ms is not None:
            return True
        self._overdue = now_ns - self.injected_ns >= (self._seconds + self._patience_s) * 1e9
        return self._overdue

    def end(self) -> None:
        """Ends the run normally."""
        self.loop.request_stop("the trial is over")

    def _names(self) -> list[str]:
        views = [f"{name}{i}" for i in range(len(self._setup.cameras)) for name in CAMERA]
        return [ENDING, *LOOP_STATE, *CHUNKS, *POLICY, *views]

    def _probe(self) -> list[int]:
        loop, channels = self.loop, self.channels
        return [
            int(loop.ending),
            *(getattr(loop.state, name) for name in LOOP_STATE),
            *(getattr(loop.counts, name) for name in CHUNKS),
            *(channels.policy[name] for name in POLICY),
            *(camera.board[name] for camera in channels.cameras for name in CAMERA),
        ]

    @property
    def awaited_ms(self) -> float | None:
        """When what the trial waits for happened; None: not yet, or it waits for nothing."""
        return None if self._awaited is None else self._awaited.event(self)

    def lacking(self) -> str:
        """Which answers the trial waited for in vain though the policy was busy; empty if it gave all, or was idle."""
        if self._awaited is None or not self._overdue:
            return ""
        start = self.index_at(0)
        inferences, phases = self.column("inferences")[start:], self.column("phase")[start:]
        given, busy = int(np.ptp(inferences)) if len(inferences) else 0, phases != Phase.RUNNING
        if given >= self._awaited.answers or not len(busy) or busy.mean() < BUSY_SHARE:
            return ""
        seconds = float(self.times_ns[-1] - self.injected_ns) / 1e9
        return (
            f"the policy gave {given} of the {self._awaited.answers} answers that this takes within {seconds:.1f} s; "
            f"before the fault it answered every {self._setup.pace.interval_s:.2f} s"
        )

    @property
    def begun(self) -> np.ndarray:
        """(n,) how many inferences had begun at each command."""
        return self.column("inferences") + (self.column("phase") == Phase.WORKING)

    @property
    def period_ns(self) -> int:
        return round(self.report.period_ms * 1e6)

    def longest_gap_ms(self, from_ms: float = 0) -> float:
        """Longest time between two commands, from one period before `from_ms` on."""
        times = self.times_ns[self.times_ns >= self.injected_ns + from_ms * 1e6 - self.period_ns]
        return float(np.diff(times).max(initial=0)) / 1e6
