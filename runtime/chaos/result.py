"""Faults, and the results of their trials: measured times against bounds, and what else went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line reads the statuses without loading the runtime
    from vpp_edge.runtime.chaos.trial import Trial, TrialSetup
    from vpp_edge.runtime.control.contract import Cause

RunTrial = Callable[["TrialSetup"], "TrialResult"]
PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
NEEDS_HARDWARE, NOT_RUN = "needs-hardware", "not-run"


@dataclass(frozen=True)
class Problem:
    """Something that was wrong in a trial.

    Attributes:
        missing: it was not seen only because the policy did not answer, so it says nothing about the runtime.
    """

    text: str
    missing: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a run reacted to a fault.

    Attributes:
        observed: what happened, as text.
        measured_ms: the time that the bound limits; None when the fault has no time bound or the reaction never came.
        bound_ms: None when the fault has no time bound.
        measures: what `measured_ms` measures, as text.
        problems: everything else that was wrong.
    """

    observed: str
    measured_ms: float | None = None
    bound_ms: float | None = None
    measures: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def status(self) -> str:
        """PASSED, FAILED or INCONCLUSIVE. What was wrong for certain counts more than what is missing."""
        missing = any(problem.missing for problem in self.problems)
        wrong = not all(problem.missing for problem in self.problems)
        if self.bound_ms is not None:
            wrong = wrong or (not missing if self.measured_ms is None else self.measured_ms > self.bound_ms)
        return FAILED if wrong else INCONCLUSIVE if missing else PASSED


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault that the runtime survives.

    Attributes:
        number: stable; `vpp-edge chaos --fault` takes it.
        name: what goes wrong, as text, like the next three.
        reaction: what the runtime does about it.
        bound: how fast it does so; T is the control period.
        about: what is broken, and what the runtime must do, in a sentence or two for people who meet it first.
        trial: injects the fault and measures the reaction; None when it cannot run on this machine.
        needs: what is missing when `trial` is None.
        paced: whether the trial runs the policy under test, whose pace has to be known then.
    """

    number: int
    name: str
    reaction: str
    bound: str
    about: str
    trial: RunTrial | None
    needs: str = ""
    paced: bool = True


def unless(condition: bool, problem: str) -> tuple[Problem, ...]:
    """The problem as a tuple of one; empty if the condition holds."""
    return () if condition else (Problem(problem),)


def unless_answering(trial: Trial, condition: bool, problem: str) -> tuple[Problem, ...]:
    """As `unless`, for what only answers of the policy can bring about: excused where it did not give them in time."""
    if condition or not (lacking := trial.lacking()):
        return unless(condition, problem)
    return (Problem(lacking, missing=True),)


def unless_normal_end(trial: Trial) -> tuple[Problem, ...]:
    """The problem that the run ended with an error; empty if it did not."""
    return unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}")


def unless_ended_by(trial: Trial, *causes: Cause, saying: str = "") -> tuple[Problem, ...]:
    """The problem that the run ended for none of these causes, or did not say this; empty if it did."""
    report = trial.report
    expected = report.control.cause in causes and saying in report.ended
    return unless_answering(trial, expected, f"the run ended: {report.ended}")


def unless_held(trial: Trial) -> tuple[Problem, ...]:
    """The problem that the hand was not held at the end of the run; empty if it was."""
    return unless(trial.report.control.held, "the hand is not held")


def no_missed_period(trial: Trial, *, observed: str, problems: tuple[Problem, ...], from_ms: float = 0) -> TrialResult:
    """A result judged by the longest time between two commands, which is below two periods if none was missed."""
    return TrialResult(
        observed=observed,
        measured_ms=trial.longest_gap_ms(from_ms),
        bound_ms=2 * trial.report.period_ms,
        measures="longest time between two commands",
        problems=problems,
    )
