"""What a trial is judged by: in, a measured time and its bound; out, a finding that a person and a program can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vpp_edge.runtime.chaos.trial import Setting

LONGEST_GAP = "longest time between two commands"
PASSED, FAILED, NEEDS_HARDWARE = "passed", "failed", "needs-hardware"


@dataclass(frozen=True)
class TrialResult:
    """How the run reacted.

    Attributes:
        measured_ms: the time that the bound is about; None where what should happen never did, or no time is meant.
        bound_ms: None where no time is meant.
        measures: what `measured_ms` is, in words; empty where it is None.
        problems: what else was not as it has to be, in words; empty when the trial passed.
        seen: what happened, in words.
    """

    measured_ms: float | None
    bound_ms: float | None
    seen: str
    measures: str = ""
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        in_time = self.bound_ms is None or (self.measured_ms is not None and self.measured_ms <= self.bound_ms)
        return in_time and not self.problems


@dataclass(frozen=True)
class Fault:
    """One row of what the runtime survives.

    Attributes:
        number: stable; `vpp-edge chaos --fault` takes it.
        name: what goes wrong. `reaction`: what the runtime does then. `bound`: within which time, in words.
        trial: measures it; None where only hardware can show it, which `needs` then names, with what tests its code.
    """

    number: int
    name: str
    reaction: str
    bound: str
    trial: Callable[[Setting], TrialResult] | None
    needs: str = ""


def unless(condition: bool, problem: str) -> tuple[str, ...]:
    """`problem` as the only one, unless the condition holds."""
    return () if condition else (problem,)
