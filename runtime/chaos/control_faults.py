"""Trials of faults of the control process: bad limits, an obstructed hand, overruns, and every way to stop a run."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.chaos.result import (
    Problem,
    TrialResult,
    unless,
    unless_ended_by,
    unless_held,
    unless_normal_end,
)
from vpp_edge.runtime.chaos.trial import ENDING, Trial, TrialSetup
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.spec.hand_limits import HandLimits

STOP_MS, TRACKING_MS = 50.0, 100.0
STALL_MS, OVERRUN_MS, OVERRUNS = 57, 25, 5


def wrong_limits(setup: TrialSetup) -> TrialResult:
    """Limits that are missing, negative, NaN, zero, inverted or too few are refused."""
    with closing(setup.open_hand()) as hand:
        wrong = _wrong_limits(hand.limits)
    refused = sum(_refused(values) for values in wrong)
    return TrialResult(
        observed=f"{refused} of {len(wrong)} wrong sets of limits refused",
        problems=unless(refused == len(wrong), "one was accepted"),
    )


def _wrong_limits(limits: HandLimits) -> list[dict[str, Any]]:
    """Arguments of HandLimits, wrong in one way each."""
    good = {field.name: getattr(limits, field.name) for field in dataclasses.fields(HandLimits)}
    wrong = [
        {name: value for name, value in good.items() if name != missing}
        for missing in ("joint_speed_rad_s", "joint_jerk_rad_s3", "wrist_lower_m")
    ]
    for name in ("joint_speed_rad_s", "joint_acceleration_rad_s2", "wrist_speed_m_s", "wrist_jerk_m_s3"):
        value = good[name]
        first = value[0] if isinstance(value, tuple) else value
        for bad in (-first, float("nan"), 0.0):
            wrong.append({**good, name: (bad, *value[1:]) if isinstance(value, tuple) else bad})
    wrong.append({**good, "joint_lower_rad": good["joint_upper_rad"], "joint_upper_rad": good["joint_lower_rad"]})
    wrong.append({**good, "joint_names": good["joint_names"][1:]})
    return wrong


def _refused(values: dict[str, Any]) -> bool:
    try:
        HandLimits(**values)
    except (BadInputError, TypeError):
        return True
    return False


def obstructed(setup: TrialSetup) -> TrialResult:
    """The wrist is away from its command: the run stops, and the hand does not push on."""

    def displace(trial: Trial) -> None:
        offset = np.zeros(len(trial.hand.commands[0]))
        offset[0] = 2 * trial.hand.limits.wrist_tracking_m
        trial.hand.change_state = lambda vector: vector + offset

    trial = Trial(setup, displace, 2.0).run()
    return TrialResult(
        observed="stopped where it was",
        measured_ms=float(trial.times_ns[-1] - trial.injected_ns) / 1e6,
        bound_ms=TRACKING_MS,
        measures="until the last command",
        problems=unless_ended_by(trial, Cause.OBSTRUCTED) + unless_held(trial),
    )


def overrun(setup: TrialSetup) -> TrialResult:
    """One long stall: missed slots are skipped without a burst. Overruns in a row: the fifth one stops the run."""
    once = Trial(setup, lambda trial: trial.hand.stall(STALL_MS / 1e3), 1.0).run()
    gaps_ms = np.diff(once.times_ns[once.times_ns >= once.injected_ns]) / 1e6
    shortest_ms, longest_ms = float(gaps_ms.min()), once.longest_gap_ms()
    many = Trial(setup, lambda trial: trial.hand.stall(OVERRUN_MS / 1e3, 50), 2.0).run()
    fifth_ns = many.injected_ns + OVERRUNS * (OVERRUN_MS + many.report.period_ms) * 1e6
    stop_ms = ((many.hand.held_ns or many.times_ns[-1]) - fifth_ns) / 1e6 - many.report.control.stop_ms
    return TrialResult(
        observed=f"stall of {STALL_MS} ms: commands {shortest_ms:.1f} to {longest_ms:.1f} ms apart, no burst",
        measured_ms=max(0.0, stop_ms),
        bound_ms=5 * once.report.period_ms,
        measures="from the fifth overrun in a row to the stop",
        problems=(
            *unless(shortest_ms > once.report.period_ms / 4, f"a burst: commands {shortest_ms:.1f} ms apart"),
            *unless_ended_by(many, Cause.OVERRUN),
            *unless_normal_end(once),
        ),
    )


def stop_requests(setup: TrialSetup) -> TrialResult:
    """Ctrl-C, SIGTERM, the emergency stop and an exception all take the one stop path."""
    signals = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}
    requests: dict[str, Callable[[Trial], None]] = {
        **{name: partial(_send_self, number) for name, number in signals.items()},
        "emergency stop": lambda trial: trial.loop.request_stop("emergency stop"),
        "exception": lambda trial: setattr(trial.hand, "on_read", _fail),
    }
    times_ms: dict[str, float] = {}
    problems: list[Problem] = []
    for name, request in requests.items():
        trial = Trial(setup, request, 2.0, stops_itself=name in signals)
        try:
            trial.run()
        except _InjectedError:
            problems += unless(name == "exception", f"{name}: raised the injected exception")
        else:
            expected = name != "exception" and name in trial.report.ended
            problems += unless(expected, f"{name}: the run ended: {trial.report.ended}")
        problems += unless(trial.hand.held_ns is not None, f"{name}: the hand is not held")
        times_ms[name] = max(0.0, (_stop_began_ns(trial) - trial.injected_ns) / 1e6)
    return TrialResult(
        observed=f"after ms: {', '.join(f'{name} {ms:.0f}' for name, ms in times_ms.items())}",
        measured_ms=max(times_ms.values()),
        bound_ms=STOP_MS,
        measures="until the slowest stop began",
        problems=tuple(problems),
    )


def _send_self(number: signal.Signals, trial: Trial) -> None:
    os.kill(os.getpid(), number)


def _stop_began_ns(trial: Trial) -> int:
    """When the first command of the stop was sent; when the hand was held if there was none."""
    ending = np.flatnonzero(trial.column(ENDING) & (trial.times_ns >= trial.injected_ns))
    return int(trial.times_ns[ending[0]]) if len(ending) else trial.hand.held_ns or 0


class _InjectedError(Exception):
    """A bug in the control loop."""


def _fail() -> None:
    raise _InjectedError
