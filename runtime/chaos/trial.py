"""A trial: one live run with an injected fault, in which every command and counter is logged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vpp_edge.errors import CheckFailedError
from vpp_edge.runtime.chaos.injection import PolicyInjection, UnreliableCamera
from vpp_edge.runtime.chaos.orders import FaultOrders
from vpp_edge.runtime.chaos.watched_hand import WatchedHand
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import CameraSource, Hand
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.counters import CameraCounts, ChunkCounts, PolicyCounts, names_of
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.report import RunReport
from vpp_edge.runtime.session.run import run_session

SETTLE_S = 0.6  # of motion before the fault
MAX_START_S = 300.0
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
    """

    bundle: str
    cameras: tuple[CameraSource, ...]
    instruction: str
    open_hand: Callable[[], Hand]
    options: dict[str, Any] = field(default_factory=dict)
    soak_s: float = 10.0

    def config(self, hand: Hand) -> SessionConfig:
        """The configuration of a run without faults."""
        return SessionConfig(
            bundle=self.bundle, cameras=self.cameras, hand=hand, instruction=self.instruction, **self.options
        )

    @property
    def last_view(self) -> int:
        """Index of the view whose camera fails."""
        return len(self.cameras) - 1


class Trial:
    """One run with a fault. Times of its methods count from the injection.

    Args:
        inject: called once, when the hand has moved for SETTLE_S.
        seconds: time from the injection to the end, if nothing else ends the run.
        later: further actions and when to call them, in seconds after the injection.
        on_poll: called 20 times a second after the injection.
        changes: fields of SessionConfig that differ from the setup's.

    Attributes:
        orders, hand: for `inject` and the other callbacks, as are `loop` and `channels` while the run lasts.
        report: of the run, when it is over.
        started_ns, loaded_ns, injected_ns: when the run started, when the policy first ran, when the fault came.
    """

    def __init__(
        self,
        setup: TrialSetup,
        inject: Callable[[Trial], None],
        seconds: float,
        *,
        later: tuple[tuple[float, Callable[[Trial], None]], ...] = (),
        on_poll: Callable[[Trial], None] = lambda trial: None,
        **changes: Any,
    ) -> None:
        self._setup, self._inject, self._seconds = setup, inject, seconds
        self._later, self._on_poll = list(later), on_poll
        self._changes = changes
        self.orders = FaultOrders()
        self.loop: ControlLoop
        self.channels: Channels
        self.hand: WatchedHand
        self.report: RunReport
        self.columns: dict[str, int] = {}
        self.started_ns = self.loaded_ns = self.injected_ns = 0

    def run(self) -> Trial:
        """Runs to the end.

        Raises:
            CheckFailedError: the run ended before the fault was injected.
            Exception: whatever `run_session` raises.
        """
        setup = self._setup
        cameras = tuple(UnreliableCamera(camera, i, self.orders) for i, camera in enumerate(setup.cameras))
        try:
            with WatchedHand(setup.open_hand(), SETTLE_S + self._seconds) as self.hand:
                config = replace(
                    setup.config(self.hand),
                    cameras=cameras,
                    start_s=MAX_START_S,
                    wrap_policy=PolicyInjection(self.orders),
                    **self._changes,
                )
                self.started_ns = time.monotonic_ns()
                self.report = run_session(config, RunHooks(on_poll=self._poll))
        finally:
            self.orders.close()
        if not self.injected_ns:
            raise CheckFailedError(f"the run ended before anything was injected: {self.report.ended}")
        return self

    def _poll(self, loop: ControlLoop, channels: Channels) -> None:
        if not self.columns:
            self.loop, self.channels = loop, channels
            self.columns = {name: i for i, name in enumerate(self._names())}
            self.hand.set_probe(self._probe)
        now_ns = time.monotonic_ns()
        if not self.loaded_ns and channels.policy["inferences"]:
            self.loaded_ns = now_ns
        if loop.started_ns is None or now_ns - loop.started_ns < SETTLE_S * 1e9:
            return
        if not self.injected_ns:
            self.injected_ns = time.monotonic_ns()
            self._inject(self)
        while self._later and now_ns - self.injected_ns >= self._later[0][0] * 1e9:
            self._later.pop(0)[1](self)
        self._on_poll(self)
        if now_ns - self.injected_ns >= self._seconds * 1e9:
            self.end()

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
    def period_ns(self) -> int:
        return round(self.report.period_ms * 1e6)

    @property
    def times_ns(self) -> np.ndarray:
        """(n,) when each command was sent, monotonic."""
        return self.hand.times_ns[: self.hand.count]

    @property
    def commands(self) -> np.ndarray:
        """(n, 7 + J) the commands."""
        return self.hand.commands[: self.hand.count]

    def column(self, name: str) -> np.ndarray:
        """(n,) the value of a counter at each command."""
        return self.hand.probes[: self.hand.count, self.columns[name]]

    def index_at(self, ms: float) -> int:
        """Index of the first command from this time on."""
        return int(np.searchsorted(self.times_ns, self.injected_ns + int(ms * 1e6)))

    def value_before(self, name: str) -> int:
        """The value of a counter at the last command before the injection."""
        return int(self.column(name)[max(0, self.index_at(0) - 1)])

    def ms_until_grown(self, name: str, by: int = 1) -> float | None:
        """Time until a counter had grown by so much; None if it never did."""
        return self.ms_until(self.column(name) >= self.value_before(name) + by)

    def ms_until(self, condition: np.ndarray, from_ms: float = 0) -> float | None:
        """Time of the first command from `from_ms` on for which `condition` (n,) holds; None if there is none."""
        after = self.times_ns >= self.injected_ns + from_ms * 1e6
        found = np.flatnonzero(condition & after)
        return float(self.times_ns[found[0]] - self.injected_ns) / 1e6 if len(found) else None

    def rest_after_ms(self, from_ms: float) -> float | None:
        """Time from `from_ms` until the command no longer changes; None if it always does."""
        start = self.index_at(from_ms)
        still = np.abs(np.diff(self.commands[start:], axis=0)).max(axis=1, initial=0) < 1e-12
        found = np.flatnonzero(still)
        return float(self.times_ns[start + found[0]] - self.injected_ns) / 1e6 - from_ms if len(found) else None

    def longest_gap_ms(self, from_ms: float = 0) -> float:
        """Longest time between two commands, from one period before `from_ms` on."""
        times = self.times_ns[self.times_ns >= self.injected_ns + from_ms * 1e6 - self.period_ns]
        return float(np.diff(times).max(initial=0)) / 1e6
