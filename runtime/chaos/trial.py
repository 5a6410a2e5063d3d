"""A trial: one live run in which one fault is injected, with every command and counter logged to be judged."""

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
from vpp_edge.runtime.session.report import RunReport
from vpp_edge.runtime.session.run import run_session
from vpp_edge.runtime.session.supervisor import RunHooks

SETTLE_S = 0.6  # of motion before anything goes wrong
LONGEST_START_S = 300.0
ENDING = "ending"  # whether the loop has been told to stop
LOOP_STATE = names_of(LoopState)
CHUNKS = names_of(ChunkCounts)
POLICY = (*names_of(PolicyCounts), "spread_ns", "pid", "phase")
CAMERA = (*names_of(CameraCounts), "pid")


@dataclass(frozen=True)
class Setting:
    """What all trials run.

    Attributes:
        cameras: one for each view of the policy.
        open_hand: opens a new hand for each trial.
        options: further fields of SessionConfig.
        soak_s: how long memory is watched.
    """

    bundle: str
    cameras: tuple[CameraSource, ...]
    instruction: str
    open_hand: Callable[[], Hand]
    options: dict[str, Any] = field(default_factory=dict)
    soak_s: float = 10.0

    def config(self, hand: Hand) -> SessionConfig:
        """The configuration of an undisturbed run with this hand."""
        return SessionConfig(
            bundle=self.bundle, cameras=self.cameras, hand=hand, instruction=self.instruction, **self.options
        )

    @property
    def last_view(self) -> int:
        """The view whose camera fails."""
        return len(self.cameras) - 1


class Trial:
    """Runs once.

    Args:
        inject: called once the hand has moved for SETTLE_S, at `begun_ns`; times count from there.
        seconds: from then to the end, if nothing else ends the run.
        later: further (seconds after `begun_ns`, what to do). `each`: called 20 times a second after `inject`.
        changes: fields of SessionConfig that differ from the setting's.

    Attributes:
        report: of the run. `orders`, `hand`, and while it runs `loop` and `channels`: for `inject`.
        started_ns: of the run; `loaded_ns`: when the policy first ran.
    """

    def __init__(
        self,
        setting: Setting,
        inject: Callable[[Trial], None],
        seconds: float,
        later: tuple[tuple[float, Callable[[Trial], None]], ...] = (),
        each: Callable[[Trial], None] = lambda trial: None,
        **changes: Any,
    ) -> None:
        self._setting, self._inject, self._seconds = setting, inject, seconds
        self._later, self._each = list(later), each
        self._changes = changes
        self.orders = FaultOrders()
        self.loop: ControlLoop
        self.channels: Channels
        self.hand: WatchedHand
        self.report: RunReport
        self.columns: dict[str, int] = {}
        self.started_ns = self.loaded_ns = self.begun_ns = 0

    def run(self) -> Trial:
        """The whole run.

        Raises:
            CheckFailedError: the run ended by itself before anything could be injected.
            BadInputError and whatever else `run_session` raises.
        """
        setting = self._setting
        cameras = tuple(UnreliableCamera(camera, i, self.orders) for i, camera in enumerate(setting.cameras))
        try:
            with WatchedHand(setting.open_hand(), SETTLE_S + self._seconds) as self.hand:
                config = replace(
                    setting.config(self.hand),
                    cameras=cameras,
                    start_s=LONGEST_START_S,
                    wrap_policy=PolicyInjection(self.orders),
                    **self._changes,
                )
                self.started_ns = time.monotonic_ns()
                self.report = run_session(config, RunHooks(on_poll=self._poll))
        finally:
            self.orders.close()
        if not self.begun_ns:
            raise CheckFailedError(f"the run ended before anything was injected: {self.report.ended}")
        return self

    def _poll(self, loop: ControlLoop, channels: Channels) -> None:
        if not self.columns:
            self.loop, self.channels = loop, channels
            self.columns = {name: i for i, name in enumerate(self._names())}
            self.hand.watch(self._probe)
        now_ns = time.monotonic_ns()
        if not self.loaded_ns and channels.policy["inferences"]:
            self.loaded_ns = now_ns
        if loop.started_ns is None or now_ns - loop.started_ns < SETTLE_S * 1e9:
            return
        if not self.begun_ns:
            self.begun_ns = time.monotonic_ns()
            self._inject(self)
        while self._later and now_ns - self.begun_ns >= self._later[0][0] * 1e9:
            self._later.pop(0)[1](self)
        self._each(self)
        if now_ns - self.begun_ns >= self._seconds * 1e9:
            self.end()

    def end(self) -> None:
        """Stops the run in the ordinary way."""
        self.loop.request_stop("the trial is over")

    def _names(self) -> list[str]:
        views = [f"{name}{i}" for i in range(len(self._setting.cameras)) for name in CAMERA]
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
        """(n,) when each command was sent."""
        return self.hand.times_ns[: self.hand.count]

    @property
    def commands(self) -> np.ndarray:
        """(n, 7 + J), each command."""
        return self.hand.commands[: self.hand.count]

    def column(self, name: str) -> np.ndarray:
        """(n,) what a count was at each command."""
        return self.hand.probes[: self.hand.count, self.columns[name]]

    @property
    def first(self) -> int:
        """Index of the first command after `begun_ns`."""
        return int(np.searchsorted(self.times_ns, self.begun_ns))

    def grown_ms(self, name: str, by: int = 1) -> float | None:
        """From `begun_ns` to when a count had grown by so much; None if it never did."""
        before = self.column(name)[max(0, self.first - 1)]
        return self.ms_until(self.column(name) >= before + by)

    def ms_until(self, condition: np.ndarray, from_ms: float = 0) -> float | None:
        """From `begun_ns` to the first command, not before `from_ms`, for which (n,) `condition` holds."""
        after = self.times_ns >= self.begun_ns + from_ms * 1e6
        found = np.flatnonzero(condition & after)
        return float(self.times_ns[found[0]] - self.begun_ns) / 1e6 if len(found) else None

    def rest_ms(self, from_ms: float) -> float | None:
        """From `from_ms` after `begun_ns` to when the command had stopped changing; None if it never rested."""
        start = int(np.searchsorted(self.times_ns, self.begun_ns + int(from_ms * 1e6)))
        still = np.abs(np.diff(self.commands[start:], axis=0)).max(axis=1, initial=0) < 1e-12
        found = np.flatnonzero(still)
        return float(self.times_ns[start + found[0]] - self.begun_ns) / 1e6 - from_ms if len(found) else None

    def longest_gap_ms(self, from_ms: float = 0, to_ms: float = 1e9) -> float:
        """The longest time between two commands in a part of the trial."""
        low, high = self.begun_ns + from_ms * 1e6 - self.period_ns, self.begun_ns + to_ms * 1e6
        times = self.times_ns[(self.times_ns >= low) & (self.times_ns <= high)]
        return float(np.diff(times).max(initial=0)) / 1e6
