"""A storm: random faults in live runs, one after another, with every command checked against every limit."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp_edge.runtime.chaos.limit_usage import ROUNDING, largest_limit_usage
from vpp_edge.runtime.chaos.orders import CameraFault, PolicyFault
from vpp_edge.runtime.chaos.trial import Trial, TrialSetup
from vpp_edge.wording import counted

INTERVAL_S = (0.2, 1.2)  # between two faults
CAMERA_FAULTS = {fault.name.lower(): fault for fault in CameraFault if fault} | {"camera ok": CameraFault.NONE}
POLICY_FAULTS = {
    "slow": PolicyFault.SLOW,
    "nan": PolicyFault.NAN,
    "jump": PolicyFault.JUMP,
    "policy ok": PolicyFault.NONE,
}
OTHER_FAULTS = ("kill policy", "kill camera", "stall", "interrupt")


@dataclass
class StormReport:
    """Result of a storm.

    Attributes:
        faults: how often each was injected.
        runs: how each run ended; a run that a guard stopped is followed by another.
        commands: number of commands sent.
        share: largest ratio of a value to its limit.
        worst: name of that limit.
        not_held: number of runs that ended without the hand held.
        interrupted: whether a signal ended it early.
    """

    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    runs: list[str] = field(default_factory=list)
    commands: int = 0
    share: float = 0.0
    worst: str = ""
    not_held: int = 0
    interrupted: bool = False

    @property
    def passed(self) -> bool:
        """Whether every command kept every limit and every run ended with the hand held."""
        return self.share <= 1 + ROUNDING and not self.not_held

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "faults": dict(self.faults), "passed": self.passed}

    def lines(self) -> list[str]:
        faults = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items()))
        return [
            f"storm     {self.seconds:.0f} s, {counted(len(self.runs), 'run')}, "
            f"{counted(sum(self.faults.values()), 'fault')}: {faults}",
            f"limits    {counted(self.commands, 'command')}, "
            f"at most {100 * self.share:.2f} % of a limit ({self.worst})",
            *(f"ended     {count} x {reason}" for reason, count in Counter(self.runs).most_common()),
            f"{'interrupted; so far ' if self.interrupted else ''}{'passed' if self.passed else 'FAILED'}",
        ]

    def add(self, trial: Trial) -> None:
        """Adds a run that has ended."""
        share, worst = largest_limit_usage(trial.commands, trial.period_ns, trial.hand.limits)
        if share > self.share:
            self.share, self.worst = share, worst
        self.commands += trial.hand.count
        # `the trial is over: hand held`, or after a failure `fault: the policy gave ...: hand held`
        self.runs.append(trial.report.ended.split(":")[1 if trial.report.control.failed else 0].strip())
        self.not_held += not trial.report.control.held


def storm(setup: TrialSetup, seconds: float, seed: int) -> StormReport:
    """Injects random faults for this long; a run that a guard stops is followed by a new one."""
    random, report, begun_s = np.random.default_rng((seed, 3)), StormReport(), time.monotonic()
    while not report.interrupted and (remaining_s := begun_s + seconds - time.monotonic()) > 1:
        faults = _RandomFaults(random, len(setup.cameras), report.faults)
        trial = Trial(setup, lambda trial: None, remaining_s, on_poll=faults.inject_when_due, stops_itself=True)
        trial.run()
        report.add(trial)
        report.interrupted = bool(trial.report.signals)
    report.seconds = time.monotonic() - begun_s
    return report


class _RandomFaults:
    """Injects a random fault at random intervals and counts each kind in `counts`."""

    def __init__(self, random: np.random.Generator, views: int, counts: Counter[str]) -> None:
        self._random, self._views, self._counts = random, views, counts
        self._next_s = 0.0

    def inject_when_due(self, trial: Trial) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._random.uniform(*INTERVAL_S)
        name = str(self._random.choice([*CAMERA_FAULTS, *POLICY_FAULTS, *OTHER_FAULTS]))
        self._counts[name] += 1
        self._inject(trial, name, view=int(self._random.integers(self._views)))

    def _inject(self, trial: Trial, name: str, view: int) -> None:
        if name in CAMERA_FAULTS:
            trial.orders.order_camera(CAMERA_FAULTS[name], view)
        elif name in POLICY_FAULTS:
            trial.orders.order_policy(POLICY_FAULTS[name], int(self._random.integers(50, 1500)))
        elif name == "interrupt":
            trial.loop.interrupt()
        elif name == "stall":
            trial.hand.stall(float(self._random.uniform(0.005, 0.09)))
        else:
            board = trial.channels.policy if name == "kill policy" else trial.channels.cameras[view].board
            _kill(board["pid"])


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # the process is being restarted
        os.kill(pid, signal.SIGKILL)
