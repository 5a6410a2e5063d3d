"""Passed, failed or inconclusive: what a trial makes of what it saw, and of answers that a policy did not give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vpp_edge.runtime.chaos.pace import Pace
from vpp_edge.runtime.chaos.result import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    Problem,
    TrialResult,
    unless,
    unless_answering,
    unless_ended_by,
)
from vpp_edge.runtime.chaos.trial import Awaited, Trial, TrialSetup
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.ipc.loop_state import Phase

WRONG, MISSING = Problem("wrong"), Problem("missing", missing=True)


@pytest.mark.parametrize(
    ("measured", "problems", "status"),
    [
        (None, (), FAILED),
        (9.0, (), PASSED),
        (11.0, (), FAILED),
        (9.0, (WRONG,), FAILED),
        (9.0, (MISSING,), INCONCLUSIVE),
        (None, (MISSING,), INCONCLUSIVE),
        (11.0, (MISSING,), FAILED),
        (9.0, (MISSING, WRONG), FAILED),
    ],
)
def test_what_is_wrong_counts_more_than_what_is_missing(
    measured: float | None, problems: tuple[Problem, ...], status: str
) -> None:
    assert TrialResult(observed="", measured_ms=measured, bound_ms=10.0, problems=problems).status == status


@pytest.mark.parametrize(("problems", "status"), [((), PASSED), ((WRONG,), FAILED), ((MISSING,), INCONCLUSIVE)])
def test_a_fault_without_a_bound_is_judged_by_its_problems(problems: tuple[Problem, ...], status: str) -> None:
    assert TrialResult(observed="", problems=problems).status == status


def ended(*, answers: int, busy: float, overdue: bool, cause: Cause = Cause.REQUESTED) -> Trial:
    """A trial that waited for 3 answers, at the end: how many came, and how busy the policy was."""
    setup = TrialSetup(bundle="", cameras=(), instruction="", open_hand=Any, pace=Pace(interval_s=0.5))
    trial = Trial(setup, lambda trial: None, 1.0, awaited=Awaited(answers=3))
    trial.orders.close()
    count = 100
    probes = np.zeros((count, 2), np.int64)
    probes[:, 0] = np.linspace(0, answers + 0.999, count)
    probes[:, 1] = np.where(np.arange(count) < busy * count, Phase.WORKING, Phase.RUNNING)
    trial.columns = {"inferences": 0, "phase": 1}
    hand: Any = SimpleNamespace(times_ns=np.arange(count) * 10_000_000 + 1, probes=probes)
    report: Any = SimpleNamespace(ended=f"{cause.value}: hand held", control=SimpleNamespace(cause=cause))
    trial.hand, trial.report = hand, report
    trial.logged, trial._overdue, trial.injected_ns = count, overdue, 1
    return trial


def test_answers_that_a_busy_policy_did_not_give_are_missing() -> None:
    (problem,) = unless_answering(ended(answers=2, busy=0.9, overdue=True), False, "did not move")
    assert problem.missing
    assert problem.text == (
        "the policy gave 2 of the 3 answers that this takes within 1.0 s; before the fault it answered every 0.50 s"
    )


@pytest.mark.parametrize(
    "trial",
    [
        pytest.param({"answers": 3, "busy": 0.9, "overdue": True}, id="all answers came"),
        pytest.param({"answers": 2, "busy": 0.2, "overdue": True}, id="nobody asked the policy"),
        pytest.param({"answers": 0, "busy": 1.0, "overdue": False}, id="the run ended before they were due"),
    ],
)
def test_nothing_else_is_an_excuse(trial: dict[str, Any]) -> None:
    assert unless_answering(ended(**trial), False, "did not move") == unless(False, "did not move")


def test_what_happened_needs_no_excuse() -> None:
    assert unless_answering(ended(answers=0, busy=1.0, overdue=True), True, "did not move") == ()


def test_a_run_that_ended_otherwise_than_it_should_is_wrong() -> None:
    overrun = ended(answers=0, busy=1.0, overdue=False, cause=Cause.OVERRUN)
    assert unless_ended_by(overrun, Cause.UNUSABLE_CHUNKS) == (Problem("the run ended: overrun: hand held"),)
    assert unless_ended_by(overrun, Cause.OBSTRUCTED, Cause.OVERRUN) == ()
    assert unless_ended_by(overrun, Cause.OVERRUN, saying="too late") != ()
    waiting = ended(answers=0, busy=1.0, overdue=True)
    assert [problem.missing for problem in unless_ended_by(waiting, Cause.UNUSABLE_CHUNKS)] == [True]
