"""The table of kernels: in, operations and cases; out, what each fuses and which bytes of an inference that saves."""

from __future__ import annotations

from typing import Any

from vpp_edge.kernels.case import Case, Operation
from vpp_edge.kernels.catalogue import operation
from vpp_edge.kernels.traffic import traffic_of


def row_of_case(found: Operation, case: Case) -> dict[str, Any]:
    """Counts of one call of a case."""
    traffic = traffic_of(found, case)
    return {
        "kernel": found.name,
        "case": case.name,
        "precision": case.precision,
        "calls": case.calls,
        "sizes": dict(case.sizes),
        "floor_bytes": traffic.floor_bytes,
        "eager_bytes": traffic.eager_bytes,
        "eager_kernels": traffic.eager_kernels,
        "operations": traffic.operations,
    }


def lines_of_listing(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each kernel, summed over the calls of one inference in fp16; without such calls, for each case."""
    lines = [
        f"{'kernel':<20} {'calls':>5} {'GOP':>8} {'eager MB':>9} {'floor MB':>9} {'saved MB':>9} {'eager kernels':>13}"
        "  one pass instead of"
    ]
    total = [0.0, 0.0]
    for name in dict.fromkeys(row["kernel"] for row in rows):
        of_name = [row for row in rows if row["kernel"] == name and row["precision"] == "fp16"]
        calls, operations, eager, floor, kernels = (
            sum(row["calls"] * (row[field] if field else 1) for row in of_name)
            for field in (None, "operations", "eager_bytes", "floor_bytes", "eager_kernels")
        )
        total = [total[0] + eager, total[1] + floor]
        lines.append(
            f"{name:<20} {calls:>5} {operations / 1e9:>8.1f} {eager / 1e6:>9.0f} {floor / 1e6:>9.0f} "
            f"{(eager - floor) / 1e6:>9.0f} {kernels:>13}  {operation(name).fuses}"
        )
    eager, floor = total
    lines.append(f"{'total':<35} {eager / 1e6:>9.0f} {floor / 1e6:>9.0f} {(eager - floor) / 1e6:>9.0f}")
    return lines
