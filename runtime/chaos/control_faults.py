"""Faults of the control process itself: in, a setting; out, what the run made of it."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.chaos.result import Fault, TrialResult, unless
from vpp_edge.runtime.chaos.trial import Setting, Trial
from vpp_edge.spec.hand_limits import HandLimits

STOP_MS, TRACKING_MS = 50.0, 100.0
STALL_MS, OVERRUN_MS, OVERRUNS = 57, 25, 5


def limits_refused(setting: Setting) -> TrialResult:
    """Limits that no hand may be run with."""
    with closing(setting.open_hand()) as hand:
        good = hand.limits
    given = {field.name: getattr(good, field.name) for field in dataclasses.fields(HandLimits)}
    first = {name: value[0] if isinstance(value, tuple) else value for name, value in given.items()}
    wrong = [
        {name: value for name, value in given.items() if name != missing}
        for missing in ("joint_speed_rad_s", "joint_jerk_rad_s3", "wrist_lower_m")
    ]
    for name in ("joint_speed_rad_s", "joint_acceleration_rad_s2", "wrist_speed_m_s", "wrist_jerk_m_s3"):
        for bad in (-first[name], float("nan"), 0.0):
            wrong.append({**given, name: (bad, *given[name][1:]) if isinstance(given[name], tuple) else bad})
    wrong.append({**given, "joint_lower_rad": given["joint_upper_rad"], "joint_upper_rad": given["joint_lower_rad"]})
    wrong.append({**given, "joint_names": given["joint_names"][1:]})
    refused = sum(_refused(values) for values in wrong)
    return TrialResult(
        None,
        None,
        f"{refused} of {len(wrong)} wrong sets of limits refused",
        "",
        unless(refused == len(wrong), "one was accepted"),
    )


def _refused(values: dict) -> bool:
    try:
        HandLimits(**values)
    except (BadInputError, TypeError):
        return True
    return False


def obstructed(setting: Setting) -> TrialResult:
    """The wrist is not where it was sent: nothing is pushed on."""
    since = [0]

    def displace(trial: Trial) -> None:
        away = np.zeros(len(trial.hand.commands[0]))
        away[0] = 2 * trial.hand.limits.wrist_tracking_m
        since[0] = time.monotonic_ns()
        trial.hand.bend = lambda vector: vector + away

    trial = Trial(setting, displace, 2.0).run()
    stopped = (trial.times_ns[-1] - since[0]) / 1e6
    return TrialResult(
        stopped,
        TRACKING_MS,
        "stopped where it was",
        "last command",
        unless("away from its command" in trial.report.ended, f"the run ended: {trial.report.ended}")
        + unless(trial.report.control.held, "the hand is not held"),
    )


def overrun(setting: Setting) -> TrialResult:
    """A stall of 57 ms: its slots are left out, and not made up for."""
    trial = Trial(setting, lambda trial: trial.hand.stall(STALL_MS / 1e3), 1.0).run()
    after = trial.times_ns[trial.times_ns >= trial.begun_ns]
    shortest, longest = float(np.diff(after).min()) / 1e6, float(np.diff(after).max()) / 1e6
    many = Trial(setting, lambda trial: trial.hand.stall(OVERRUN_MS / 1e3, 50), 2.0).run()
    ended = "too late for 5 periods in a row" in many.report.ended
    fifth_ms = many.begun_ns + OVERRUNS * (OVERRUN_MS + many.report.period_ms) * 1e6
    stop_ms = ((many.hand.held_ns or many.times_ns[-1]) - fifth_ms) / 1e6 - many.report.control.stop_ms
    return TrialResult(
        max(0.0, stop_ms),
        5 * trial.report.period_ms,
        f"stall of {STALL_MS} ms: commands {shortest:.1f} to {longest:.1f} ms apart, no burst",
        "stopped after the fifth overrun in a row",
        unless(shortest > trial.report.period_ms / 4, f"a burst: {shortest:.1f} ms apart")
        + unless(ended, f"the run ended: {many.report.ended}")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def stopped_from_outside(setting: Setting) -> TrialResult:
    """Ctrl-C, SIGTERM, the operator's stop and a bug: all take the one way out."""
    times: dict[str, float] = {}
    problems: list[str] = []
    ways: dict[str, Callable[[Trial], None]] = {
        "Ctrl-C": lambda trial: os.kill(os.getpid(), signal.SIGINT),
        "SIGTERM": lambda trial: os.kill(os.getpid(), signal.SIGTERM),
        "emergency stop": lambda trial: trial.loop.request_stop("emergency stop"),
        "bug": lambda trial: setattr(trial.hand, "on_read", _fail),
    }
    for name, way in ways.items():
        trial = Trial(setting, way, 2.0)
        try:
            trial.run()
        except ZeroDivisionError:
            problems += unless(name == "bug", f"{name}: a bug came up")
        else:
            problems += unless(name != "bug" and name in trial.report.ended, f"{name}: ended by {trial.report.ended}")
        problems += unless(trial.hand.held_ns is not None, f"{name}: the hand is not held")
        stopping = _stopping_since_ns(trial)
        times[name] = max(0.0, (stopping - trial.begun_ns) / 1e6)
    slowest = max(times, key=lambda name: times[name])
    words = ", ".join(f"{name} {ms:.0f}" for name, ms in times.items())
    return TrialResult(times[slowest], STOP_MS, f"after ms: {words}", "slowest beginning of a stop", tuple(problems))


def _stopping_since_ns(trial: Trial) -> int:
    """When the first command was sent in whose period the run was no longer going on, or the hand was held."""
    over = np.flatnonzero(trial.column("ending") & (trial.times_ns >= trial.begun_ns))
    return int(trial.times_ns[over[0]]) if len(over) else trial.hand.held_ns or 0


def _fail() -> None:
    raise ZeroDivisionError("a bug, injected")


FAULTS = (
    Fault(12, "limits missing, negative, NaN or inverted", "refuse to start", "at start", limits_refused),
    Fault(20, "hand away from its command (contact, cable)", "stop without pushing on", "100 ms", obstructed),
    Fault(21, "control loop overrun", "skip missed slots, no burst; five in a row: stop", "5 T", overrun),
    Fault(25, "SIGINT, SIGTERM, e-stop, exception", "the one safe-stop path", "50 ms", stopped_from_outside),
)
