"""The rows of `vpp-edge chaos`: faults in, the result of each as plain values and as a line of text out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vpp_edge.errors import BadInputError, InconclusiveError, MissingDependencyError, VppEdgeError
from vpp_edge.runtime.chaos.result import FAILED, INCONCLUSIVE, NEEDS_HARDWARE, NOT_RUN, PASSED

if TYPE_CHECKING:
    from vpp_edge.runtime.chaos.pace import Pace
    from vpp_edge.runtime.chaos.result import Fault, RunTrial
    from vpp_edge.runtime.chaos.trial import TrialSetup

Row = dict[str, Any]
NOTHING_MEASURED = {"measured": None, "bound_ms": None, "measures": ""}
BY_WEIGHT = (PASSED, INCONCLUSIVE, FAILED)  # of several runs the worst counts
ALWAYS_COUNTED = {PASSED: "passed", FAILED: "failed", NEEDS_HARDWARE: "need hardware"}
COUNTED = {**ALWAYS_COUNTED, INCONCLUSIVE: "inconclusive", NOT_RUN: "not run"}


class Rows:
    """Runs trials one after another, and shows each row when it is known.

    Args:
        as_json: show them on stderr; stdout is for the JSON object.

    Attributes:
        rows: one per fault, in their order.
        pace: of the policy; None before it is known.
        interrupted: whether a signal ended the command before the last trial was over.
    """

    def __init__(self, faults: tuple[Fault, ...], *, repeat: int, as_json: bool, quiet: bool) -> None:
        self._faults, self._repeat = faults, repeat
        self._stream = None if as_json and quiet else sys.stderr if as_json else sys.stdout
        self.rows: list[Row] = []
        self.pace: Pace | None = None
        self.interrupted = False

    def run(self, setup: TrialSetup) -> None:
        """Runs every trial; after a signal the faults that are left become rows that were not run.

        Raises:
            BadInputError: the policy cannot run with these settings.
        """
        try:
            setup, unmeasured = self._paced(setup)
            for fault in self._faults:
                self._add(fault, self._worst(fault, setup, unmeasured if fault.paced else None))
        except KeyboardInterrupt:
            self.interrupted = True
            for fault in self._faults[len(self.rows) :]:
                self._add(fault, {"status": NOT_RUN, **NOTHING_MEASURED, "seen": "interrupted"})

    def with_status(self, status: str) -> list[int]:
        """The numbers of the faults with this status."""
        return [row["id"] for row in self.rows if row["status"] == status]

    def _paced(self, setup: TrialSetup) -> tuple[TrialSetup, Row | None]:
        """The setup with the pace of its policy, and the result of every fault that needs it if there is none."""
        from vpp_edge.runtime.chaos.pace import measure_pace

        if not any(fault.paced and fault.trial is not None for fault in self._faults):
            return setup, None
        try:
            self.pace = measure_pace(setup)
        except VppEdgeError as error:
            if isinstance(error, BadInputError) and not isinstance(error, MissingDependencyError):
                raise
            return setup, _row_of(error)
        if self._stream is not None:
            print(f"     {self.pace.line()}", file=self._stream, flush=True)
        return replace(setup, pace=self.pace), None

    def _worst(self, fault: Fault, setup: TrialSetup, unmeasured: Row | None) -> Row:
        if fault.trial is None:
            return {"status": NEEDS_HARDWARE, **NOTHING_MEASURED, "seen": fault.needs}
        if unmeasured is not None:
            return unmeasured
        results = [_result(fault.trial, setup) for _ in range(self._repeat)]
        return max(results, key=lambda one: (BY_WEIGHT.index(one["status"]), one["measured"] or 0.0))

    def _add(self, fault: Fault, result: Row) -> None:
        names = {"id": fault.number, "fault": fault.name, "reaction": fault.reaction, "bound": fault.bound}
        self.rows.append({**names, "about": fault.about, **result})
        if self._stream is not None:
            print(line_of(self.rows[-1]), file=self._stream, flush=True)


def _result(trial: RunTrial, setup: TrialSetup) -> Row:
    try:
        result = trial(setup)
    except VppEdgeError as error:
        return _row_of(error)
    return {
        "status": result.status,
        "measured": result.measured_ms,
        "bound_ms": result.bound_ms,
        "measures": result.measures,
        "seen": "; ".join((*(problem.text for problem in result.problems), result.observed)),
    }


def _row_of(error: VppEdgeError) -> Row:
    inconclusive = isinstance(error, (InconclusiveError, MissingDependencyError))
    return {"status": INCONCLUSIVE if inconclusive else FAILED, **NOTHING_MEASURED, "seen": str(error)}


def line_of(row: Row) -> str:
    """A row as text, with what was measured."""
    time = "" if row["bound_ms"] is None else f"; {row['measures']}: {measured(row)} (bound {row['bound_ms']:.0f} ms)"
    return f"{row['id']:3}  {row['fault']:45}  {row['status']:14}  {row['seen']}{time}"


def measured(row: Row) -> str:
    """`12 ms`, or `never`; empty where nothing is measured."""
    if row["bound_ms"] is None:
        return ""
    return "never" if row["measured"] is None else f"{row['measured']:.0f} ms"


def counts_of(rows: list[Row]) -> str:
    """`26 passed, 0 failed, 0 need hardware, 2 inconclusive`: how many rows have which status."""

    def parts() -> Iterator[str]:
        for status, words in COUNTED.items():
            count = sum(row["status"] == status for row in rows)
            if count or status in ALWAYS_COUNTED:
                yield f"{count} {words}"

    return ", ".join(parts())
