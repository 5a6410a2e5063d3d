"""Random faults one after another: in, a setting and a time; out, whether every command kept every limit."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp_edge.runtime.chaos.limit_usage import largest_limit_usage
from vpp_edge.runtime.chaos.orders import CameraFault, PolicyFault
from vpp_edge.runtime.chaos.trial import Setting, Trial

EVERY_S = (0.2, 1.2)  # between two faults
CAMERA = {
    "drop": CameraFault.DROP,
    "stale": CameraFault.STALE,
    "silent": CameraFault.SILENT,
    "hang": CameraFault.HANG,
    "freeze": CameraFault.FREEZE,
    "skew": CameraFault.SKEW,
    "camera well": CameraFault.NONE,
}
POLICY = {"slow": PolicyFault.SLOW, "nan": PolicyFault.NAN, "wild": PolicyFault.WILD, "policy well": PolicyFault.NONE}
OTHER = ("kill policy", "kill camera", "stall", "interrupt")
ROUNDING = 1e-4


@dataclass
class StormReport:
    """What a storm came to.

    Attributes:
        faults: how often each was injected.
        runs: how each run ended; one that a guard stopped is followed by another.
        commands: sent in all; `share`: the largest value over its limit, and `worst`: of which.
    """

    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    runs: list[str] = field(default_factory=list)
    commands: int = 0
    share: float = 0.0
    worst: str = ""
    not_held: int = 0

    @property
    def passed(self) -> bool:
        """Whether every command kept every limit and every run ended with the hand held."""
        return self.share <= 1 + ROUNDING and not self.not_held

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "faults": dict(self.faults), "passed": self.passed}

    def lines(self) -> list[str]:
        faults = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items()))
        return [
            f"storm     {self.seconds:.0f} s, {len(self.runs)} runs, {sum(self.faults.values())} faults: {faults}",
            f"limits    {self.commands} commands, at most {100 * self.share:.2f} % of a limit ({self.worst})",
            *(f"ended     {count} x {reason}" for reason, count in Counter(self.runs).most_common()),
            "passed" if self.passed else "FAILED",
        ]


def storm(setting: Setting, seconds: float, seed: int) -> StormReport:
    """Runs until the time is over; a run that was stopped for good reasons is followed by a new one."""
    random, report, end_s = np.random.default_rng((seed, 3)), StormReport(), time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 1:
        weather = _Weather(setting, random, report.faults)
        trial = Trial(setting, lambda trial: None, left_s, each=weather.change).run()
        share, worst = largest_limit_usage(trial.commands, trial.period_ns, trial.hand.limits)
        if share > report.share:
            report.share, report.worst = share, worst
        report.commands += trial.hand.count
        report.runs.append(trial.report.ended.split(":")[0 if not trial.report.control.failed else 1].strip())
        report.not_held += not trial.report.control.held
    report.seconds = seconds - left_s
    return report


class _Weather:
    """Chooses the next fault when its time has come."""

    def __init__(self, setting: Setting, random: np.random.Generator, faults: Counter[str]) -> None:
        self._views, self._random, self._faults = len(setting.cameras), random, faults
        self._next_s = 0.0

    def change(self, trial: Trial) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._random.uniform(*EVERY_S)
        name = str(self._random.choice([*CAMERA, *POLICY, *OTHER]))
        self._faults[name] += 1
        view = int(self._random.integers(self._views))
        if name in CAMERA:
            trial.orders.camera(CAMERA[name], view)
        elif name in POLICY:
            trial.orders.policy(POLICY[name], int(self._random.integers(50, 1500)))
        elif name == "interrupt":
            trial.loop.interrupt()
        elif name == "stall":
            trial.hand.stall(float(self._random.uniform(0.005, 0.09)))
        else:
            board = trial.channels.policy if name == "kill policy" else trial.channels.cameras[view].board
            _kill(board["pid"])


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it is being restarted
        os.kill(pid, signal.SIGKILL)
