"""Faults, and the results of their trials: measured times against bounds, and what else went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line reads the statuses without loading the runtime
    from vpp_edge.runtime.chaos.trial import Trial, TrialSetup

RunTrial = Callable[["TrialSetup"], "TrialResult"]
PASSED, FAILED, NEEDS_HARDWARE = "passed", "failed", "needs-hardware"


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a run reacted to a fault.

    Attributes:
        observed: what happened, as text.
        measured_ms: the time that the bound limits; None when the fault has no time bound or the reaction never came.
        bound_ms: None when the fault has no time bound.
        measures: what `measured_ms` measures, as text.
        problems: everything else that was wrong, as text.
    """

    observed: str
    measured_ms: float | None = None
    bound_ms: float | None = None
    measures: str = ""
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        in_time = self.bound_ms is None or (self.measured_ms is not None and self.measured_ms <= self.bound_ms)
        return in_time and not self.problems


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault that the runtime survives.

    Attributes:
        number: stable; `vpp-edge chaos --fault` takes it.
        name: what goes wrong, as text, like the next two.
        reaction: what the runtime does about it.
        bound: how fast it does so; T is the control period.
        trial: injects the fault and measures the reaction; None when it cannot run on this machine.
        needs: what is missing when `trial` is None.
    """

    number: int
    name: str
    reaction: str
    bound: str
    trial: RunTrial | None
    needs: str = ""


def unless(condition: bool, problem: str) -> tuple[str, ...]:
    """`problem` as a tuple of one; empty if the condition holds."""
    return () if condition else (problem,)


def unless_normal_end(trial: Trial) -> tuple[str, ...]:
    """The problem that the run ended with an error; empty if it did not."""
    return unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}")


def unless_ended_by(trial: Trial, *reasons: str) -> tuple[str, ...]:
    """The problem that the run ended for none of these reasons; empty if it ended for one of them."""
    return unless(any(reason in trial.report.ended for reason in reasons), f"the run ended: {trial.report.ended}")


def unless_held(trial: Trial) -> tuple[str, ...]:
    """The problem that the hand was not held at the end of the run; empty if it was."""
    return unless(trial.report.control.held, "the hand is not held")


def no_missed_period(trial: Trial, *, observed: str, problems: tuple[str, ...], from_ms: float = 0) -> TrialResult:
    """A result judged by the longest time between two commands, which is below two periods if none was missed."""
    return TrialResult(
        observed=observed,
        measured_ms=trial.longest_gap_ms(from_ms),
        bound_ms=2 * trial.report.period_ms,
        measures="longest time between two commands",
        problems=problems,
    )
