"""A policy that is late, wrong, broken or killed: in, a setting; out, what the run made of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import numpy as np

from vpp_edge.runtime.chaos.limit_usage import largest_limit_usage
from vpp_edge.runtime.chaos.orders import PolicyFault
from vpp_edge.runtime.chaos.result import LONGEST_GAP, Fault, TrialResult, unless
from vpp_edge.runtime.chaos.trial import Setting, Trial

LATE_MS, AT_REST_MS, BACK_MS = 300, 100.0, 2000.0
HELD_PERIODS = 3
LONGEST_LOAD_S = 300.0
ROUNDING = 1e-4


def _order(fault: PolicyFault, milliseconds: int = 0) -> Callable[[Trial], None]:
    return lambda trial: trial.orders.policy(fault, milliseconds)


def late(setting: Setting) -> TrialResult:
    """One inference takes much longer: the loop goes on with what it has."""
    trial = Trial(setting, _order(PolicyFault.SLOW, LATE_MS), 1.5).run()
    dropped, again = trial.grown_ms("actions_dropped"), trial.grown_ms("used", 2)
    return TrialResult(
        trial.longest_gap_ms(),
        2 * trial.report.period_ms,
        f"an inference of {LATE_MS} ms more; late actions dropped: {'yes' if dropped else 'none'}",
        LONGEST_GAP,
        unless(again is not None, "no chunk came any more")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def exhausted(setting: Setting) -> TrialResult:
    """No chunk comes before the present one ends: the hand comes to rest, and moves again with the next."""

    def starve(trial: Trial) -> None:
        trial.orders.policy(PolicyFault.SLOW, int(trial.loop.chunk_s * 1e3) + 700)

    trial = Trial(setting, starve, 4.0).run()
    held = trial.ms_until(trial.column("playing") < 0)
    rest = None if held is None else trial.rest_ms(held)
    again = None if held is None else trial.ms_until(trial.column("playing") >= 0, held)
    return TrialResult(
        rest,
        AT_REST_MS,
        f"chunk over after {held or 0:.0f} ms",
        "at rest",
        unless(again is not None, "did not move again")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def not_a_number(setting: Setting) -> TrialResult:
    """NaN in every chunk: none is played, the third one stops the run."""
    trial = Trial(setting, _order(PolicyFault.NAN), 3.0).run()
    third = trial.grown_ms("rejected", 2)  # no command is sent in the period of the third one
    stopped = trial.times_ns[-1] - trial.begun_ns if third is not None else 0
    gap_ms = trial.longest_gap_ms(from_ms=third or 0)
    finite = bool(np.isfinite(trial.commands).all())
    return TrialResult(
        gap_ms,
        2 * trial.report.period_ms,
        f"stopped and held after {stopped / 1e6:.0f} ms",
        LONGEST_GAP,
        unless("3 unusable chunks in a row" in trial.report.ended, f"the run ended: {trial.report.ended}")
        + unless(finite, "NaN was sent")
        + unless(trial.report.control.held, "the hand is not held"),
    )


def wild(setting: Setting) -> TrialResult:
    """Targets from one end of the workspace to the other: clamped, and not for long."""
    trial = Trial(setting, _order(PolicyFault.WILD), 4.0).run()
    share, worst = largest_limit_usage(trial.commands, trial.period_ns, trial.hand.limits)
    clamps = trial.report.control.clamps
    guards = ("further away than the speed limits allow", "away from its command")  # fingers may meet on the way
    ended = any(words in trial.report.ended for words in guards)
    stopped_ms = float(trial.times_ns[-1] - trial.begun_ns) / 1e6
    return TrialResult(
        None,
        None,
        f"{clamps['speed']} targets clamped for speed; commands at most at {100 * share:.1f} % of a limit "
        f"({worst}); stopped as it went on, after {stopped_ms:.0f} ms",
        "",
        unless(share <= 1 + ROUNDING, f"{worst} at {100 * share:.1f} % of its limit")
        + unless(clamps["speed"] > 0, "no target was clamped")
        + unless(ended, f"the run ended: {trial.report.ended}"),
    )


def engine_error(setting: Setting) -> TrialResult:
    """The engine fails: a new one is made; when that fails too, the run stops and holds."""
    fail, state = _order(PolicyFault.FAIL), {"pid": 0, "used": 0}

    def begin(trial: Trial) -> None:
        state["pid"], state["used"] = trial.channels.policy["pid"], trial.loop.counts.used
        fail(trial)

    def fail_again(trial: Trial) -> None:
        board = trial.channels.policy
        if board["pid"] != state["pid"]:
            state["pid"], state["used"] = board["pid"], trial.loop.counts.used
        elif trial.loop.counts.used >= state["used"] + 2 and trial.orders.done("policy"):
            fail(trial)

    trial = Trial(setting, begin, LONGEST_LOAD_S, each=fail_again).run()
    deaths = len(trial.report.policy.deaths)
    return TrialResult(
        trial.longest_gap_ms(),
        2 * trial.report.period_ms,
        f"built anew once, stopped at error {deaths}, hand held",
        LONGEST_GAP,
        unless(deaths == 2, f"{deaths} failures seen")
        + unless(trial.report.control.held, "the hand is not held")
        + unless("policy failed" in trial.report.ended, f"the run ended: {trial.report.ended}"),
    )


def killed(setting: Setting) -> TrialResult:
    """kill -9 of the policy process during motion."""
    before = {"pid": 0, "used": 0}

    def kill(trial: Trial) -> None:
        before["pid"], before["used"] = trial.channels.policy["pid"], trial.loop.counts.used
        os.kill(before["pid"], signal.SIGKILL)

    def end_when_back(trial: Trial) -> None:
        if trial.channels.policy["pid"] != before["pid"] and trial.loop.counts.used >= before["used"] + 3:
            trial.end()

    trial = Trial(setting, kill, LONGEST_LOAD_S, each=end_when_back).run()
    held = trial.ms_until(trial.column("playing") < 0)
    load_ms = (trial.loaded_ns - trial.started_ns) / 1e6
    back = None if held is None else trial.ms_until(trial.column("playing") >= 0, held)
    in_time = back is not None and back <= BACK_MS + load_ms
    return TrialResult(
        held,
        HELD_PERIODS * trial.report.period_ms,
        f"moving again after {(back or 0) / 1e3:.1f} s, loading took {load_ms / 1e3:.1f} s at the start",
        "held",
        unless(in_time, f"back after {back} ms, expected {BACK_MS:.0f} and {load_ms:.0f} to load")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def earlier_episode(setting: Setting) -> TrialResult:
    """An answer that was being thought when a new episode began: refused by its number."""

    def interrupt_thinking(trial: Trial) -> None:
        trial.orders.policy(PolicyFault.SLOW, LATE_MS)
        trial.hand.on_read = lambda: _interrupt_once(trial)

    trial = Trial(setting, interrupt_thinking, 2.5).run()
    episodes, old = trial.column("episode"), trial.column("old")
    changed = trial.ms_until(episodes > episodes[max(0, trial.first - 1)])
    refused = None if changed is None else trial.ms_until(old > old[max(0, trial.first - 1)], changed)
    playing = None if changed is None else trial.ms_until(trial.column("playing") >= 0, changed + 1)
    in_order = refused is not None and playing is not None and refused <= playing
    return TrialResult(
        None,
        None,
        f"episode changed at {changed or 0:.0f} ms; the late answer refused at {refused or 0:.0f} ms; "
        f"moved again for the new one at {playing or 0:.0f} ms",
        "",
        unless(in_order, "an answer of the earlier episode was not refused")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def _interrupt_once(trial: Trial) -> None:
    """In the first period in which the policy thinks slowly, so that its answer comes too late."""
    if trial.orders.done("policy"):
        trial.hand.on_read = lambda: None
        trial.loop.interrupt()


FAULTS = (
    Fault(
        8, "inference late", "go on with the committed tail, drop actions whose time has passed", "no missed T", late
    ),
    Fault(9, "chunk exhausted", "decelerate to hold, never jump", "within T, at rest in 100 ms", exhausted),
    Fault(10, "NaN from the policy", "reject the chunk; three in a row: safe stop", "within T", not_a_number),
    Fault(11, "targets jump", "clamp and report; sustained: stop", "every T", wild),
    Fault(13, "engine or CUDA error", "control goes on; rebuild once, else stop", "no missed T", engine_error),
    Fault(14, "policy process killed", "hold; restart it", "3 T; back in 2 s and load time", killed),
    Fault(26, "late answer of an earlier episode", "discard it by its number", "-", earlier_episode),
)
