"""Trials of policy faults: late, invalid or jumping actions, engine errors, and a killed policy process."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable

import numpy as np

from vpp_edge.runtime.chaos.limit_usage import ROUNDING, largest_limit_usage
from vpp_edge.runtime.chaos.orders import PolicyFault
from vpp_edge.runtime.chaos.result import (
    Problem,
    TrialResult,
    no_missed_period,
    unless,
    unless_answering,
    unless_ended_by,
    unless_held,
    unless_normal_end,
)
from vpp_edge.runtime.chaos.trial import Awaited, Trial, TrialSetup
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.control.guards import RUNAWAY_NS

DELAY_MS, AT_REST_MS, RESTART_MS = 300, 100.0, 2000.0
HELD_PERIODS = 3
STARVED_S = 0.7  # without a chunk
SUSTAINED_S = 2 * RUNAWAY_NS / 1e9  # of targets out of reach, which stop a run at the latest then


def _order(fault: PolicyFault, delay_ms: int = 0) -> Callable[[Trial], None]:
    return lambda trial: trial.orders.order_policy(fault, delay_ms)


def late_inference(setup: TrialSetup) -> TrialResult:
    """One inference takes much longer: the loop goes on with the chunk it has."""
    used_again = Awaited(  # once for the answer under way, once for the late one, which may be too late to be used
        event=lambda trial: trial.ms_until_grown("used", 2), answers=3, delay_s=DELAY_MS / 1e3
    )
    trial = Trial(setup, _order(PolicyFault.SLOW, DELAY_MS), 1.0, awaited=used_again).run()
    dropped_ms, came = trial.ms_until_grown("actions_dropped"), trial.awaited_ms is not None
    return no_missed_period(
        trial,
        observed=f"one inference {DELAY_MS} ms longer; late actions dropped: {'yes' if dropped_ms else 'none'}",
        problems=unless_answering(trial, came, "no chunk was used afterwards") + unless_normal_end(trial),
    )


def exhausted_chunk(setup: TrialSetup) -> TrialResult:
    """No chunk comes before the current one ends: the hand comes to rest, and moves again with the next one."""

    def held(trial: Trial) -> float | None:
        return trial.ms_until(trial.column("playing") < 0)

    def moved(trial: Trial) -> float | None:
        held_ms = held(trial)
        return None if held_ms is None else trial.ms_until(trial.column("playing") >= 0, held_ms)

    starved_s = setup.pace.chunk_s + STARVED_S
    awaited = Awaited(event=moved, answers=3, delay_s=starved_s)
    trial = Trial(setup, _order(PolicyFault.SLOW, round(starved_s * 1e3)), 1.0, awaited=awaited).run()
    held_ms, again = held(trial), trial.awaited_ms is not None
    return TrialResult(
        observed=f"chunk exhausted after {held_ms or 0:.0f} ms",
        measured_ms=None if held_ms is None else trial.rest_after_ms(held_ms),
        bound_ms=AT_REST_MS,
        measures="until at rest",
        problems=unless_answering(trial, again, "did not move again") + unless_normal_end(trial),
    )


def nan_actions(setup: TrialSetup) -> TrialResult:
    """NaN in every chunk: none is executed, and the third one stops the run."""
    trial = Trial(setup, _order(PolicyFault.NAN), 1.0, awaited=Awaited(answers=4)).run()
    second_ms = trial.ms_until_grown("rejected", 2)  # no command is sent in the period of the third rejection
    stopped_ms = 0.0 if second_ms is None else float(trial.times_ns[-1] - trial.injected_ns) / 1e6
    return no_missed_period(
        trial,
        observed=f"stopped and held after {stopped_ms:.0f} ms",
        problems=(
            *unless_ended_by(trial, Cause.UNUSABLE_CHUNKS),
            *unless(bool(np.isfinite(trial.commands).all()), "NaN was sent"),
            *unless_held(trial),
        ),
        from_ms=second_ms or 0,
    )


def jumping_targets(setup: TrialSetup) -> TrialResult:
    """Targets jump from one end of the workspace to the other: they are clamped, and soon stop the run."""
    stopped = Awaited(answers=2 + math.ceil(SUSTAINED_S / setup.pace.chunk_s))  # one has begun before
    trial = Trial(setup, _order(PolicyFault.JUMP), 1.0, awaited=stopped).run()
    share, limit = largest_limit_usage(trial.commands, trial.period_ns, trial.hand.limits)
    clamped = trial.report.control.clamps["speed"]
    stopped_ms = float(trial.times_ns[-1] - trial.injected_ns) / 1e6
    return TrialResult(
        observed=f"{clamped} targets clamped for speed; commands used at most {100 * share:.1f} % of a limit "
        f"({limit}); stopped after {stopped_ms:.0f} ms",
        problems=(
            *unless(share <= 1 + ROUNDING, f"{limit} at {100 * share:.1f} % of its limit"),
            *unless_answering(trial, clamped > 0, "no target was clamped"),
            *_unless_stopped(trial),
        ),
    )


def _unless_stopped(trial: Trial) -> tuple[Problem, ...]:
    """The problem that jumping targets did not stop the run in time; excused where pauses made them too short."""
    jumping = trial.column("used") >= trial.value_before("used") + 2  # the first answer had begun before
    jumped_s = trial.longest_ms(jumping & (trial.column("playing") >= 0)) / 1e3
    if jumped_s > SUSTAINED_S:
        return unless(False, f"targets that jump were followed for {jumped_s:.1f} s")
    problems = unless_ended_by(trial, Cause.RUNAWAY, Cause.OBSTRUCTED)  # fingers may collide first
    if not problems or problems[0].missing or trial.report.control.cause != Cause.REQUESTED:
        return problems
    missing = (
        f"the policy's answers come with pauses, so targets jumped for at most {jumped_s:.1f} s at a time; whether "
        f"{RUNAWAY_NS / 1e9:g} s of them stops the run could not be seen"
    )
    return (Problem(missing, missing=True),)


def engine_error(setup: TrialSetup) -> TrialResult:
    """The engine fails: it is rebuilt once; when it fails again, the run stops and the hand holds."""
    fail = _order(PolicyFault.FAIL)
    pid = used = 0  # of the policy process that was seen last, and the chunks used by then

    def first_failure(trial: Trial) -> None:
        nonlocal pid, used
        pid, used = trial.channels.policy["pid"], trial.loop.counts.used
        fail(trial)

    def second_failure(trial: Trial) -> None:
        nonlocal pid, used
        if trial.channels.policy["pid"] != pid:
            pid, used = trial.channels.policy["pid"], trial.loop.counts.used
        elif trial.loop.counts.used >= used + 2 and trial.orders.done("policy"):
            fail(trial)

    stopped = Awaited(answers=5, loads=1)
    trial = Trial(setup, first_failure, 1.0, awaited=stopped, on_poll=second_failure).run()
    deaths = len(trial.report.policy.deaths)
    return no_missed_period(
        trial,
        observed=f"rebuilt once, stopped at error {deaths}, hand held",
        problems=(
            *unless_answering(trial, deaths == 2, f"{deaths} failures, expected 2"),
            *unless_held(trial),
            *unless_ended_by(trial, Cause.CHILD_FAILED),
        ),
    )


def killed_process(setup: TrialSetup) -> TrialResult:
    """kill -9 of the policy process during motion: the hand holds until a new process has loaded the policy."""
    pid = used = 0

    def kill(trial: Trial) -> None:
        nonlocal pid, used
        pid, used = trial.channels.policy["pid"], trial.loop.counts.used
        os.kill(pid, signal.SIGKILL)

    def back(trial: Trial) -> float | None:
        return trial.ms_until((trial.column("pid") != pid) & (trial.column("used") >= used + 3))

    trial = Trial(setup, kill, 1.0, awaited=Awaited(event=back, answers=4, loads=1)).run()
    load_ms = (trial.loaded_ns - trial.started_ns) / 1e6
    held_ms = trial.ms_until(trial.column("playing") < 0)
    back_ms = None if held_ms is None else trial.ms_until(trial.column("playing") >= 0, held_ms)
    in_time = back_ms is not None and back_ms <= RESTART_MS + load_ms
    return TrialResult(
        observed=f"moving again after {(back_ms or 0) / 1e3:.1f} s; loading took {load_ms / 1e3:.1f} s at the start",
        measured_ms=held_ms,
        bound_ms=HELD_PERIODS * trial.report.period_ms,
        measures="until the hand held",
        problems=(
            *unless_answering(
                trial, in_time, f"back after {back_ms} ms, expected {RESTART_MS:.0f} ms plus {load_ms:.0f} ms to load"
            ),
            *unless_normal_end(trial),
        ),
    )


def earlier_episode(setup: TrialSetup) -> TrialResult:
    """A chunk that is being computed when a new episode begins is refused by its episode number."""

    def interrupt_inference(trial: Trial) -> None:
        trial.orders.order_policy(PolicyFault.SLOW, DELAY_MS)
        trial.hand.on_read = lambda: _interrupt_once(trial)

    def moved(trial: Trial) -> float | None:
        changed_ms = trial.ms_until_grown("episode")
        return None if changed_ms is None else trial.ms_until(trial.column("playing") >= 0, changed_ms + 1)

    awaited = Awaited(event=moved, answers=3, delay_s=DELAY_MS / 1e3)
    trial = Trial(setup, interrupt_inference, 1.0, awaited=awaited).run()
    changed_ms, moved_ms, refused_ms = trial.ms_until_grown("episode"), trial.awaited_ms, None
    if changed_ms is not None:
        refused_ms = trial.ms_until(trial.column("old") > trial.value_before("old"), changed_ms)
    in_order = refused_ms is not None and moved_ms is not None and refused_ms <= moved_ms
    return TrialResult(
        observed=f"episode changed at {changed_ms or 0:.0f} ms; its late answer refused at {refused_ms or 0:.0f} ms; "
        f"moved in the new one at {moved_ms or 0:.0f} ms",
        problems=(
            *unless_answering(trial, in_order, "an answer from the earlier episode was not refused"),
            *unless_normal_end(trial),
        ),
    )


def _interrupt_once(trial: Trial) -> None:
    """Begins a new episode in the first period of the slow inference, so that its answer is late."""
    if trial.orders.done("policy"):
        trial.hand.on_read = lambda: None
        trial.loop.interrupt()
