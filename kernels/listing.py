"""The table of kernels: in, operations and cases; out, what each fuses and which bytes of an inference that saves."""

from __future__ import annotations

from typing import Any

from vpp_edge.kernels.catalogue import operation
from vpp_edge.kernels.operation import Case, Operation
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
    """One line for each kernel, summed over the calls of one inference in fp16, and their total."""
    lines = [f"{'kernel':<20} {'calls':>5} {'GOP':>6} {'eager MB':>9} {'floor MB':>9} {'saved MB':>9}  one pass for"]
    eager_in_all = floor_in_all = 0
    for name in dict.fromkeys(row["kernel"] for row in rows):
        of_name = [row for row in rows if row["kernel"] == name and row["precision"] == "fp16"]
        calls = sum(row["calls"] for row in of_name)
        operations, eager, floor = (
            sum(row["calls"] * row[field] for row in of_name) for field in ("operations", "eager_bytes", "floor_bytes")
        )
        lines.append(
            f"{name:<20} {calls:>5} {operations / 1e9:>6.1f} {_megabytes(eager, floor)}  {operation(name).instead_of}"
        )
        eager_in_all, floor_in_all = eager_in_all + eager, floor_in_all + floor
    return [*lines, f"{'total':<33} {_megabytes(eager_in_all, floor_in_all)}"]


def _megabytes(eager: int, floor: int) -> str:
    return f"{eager / 1e6:>9.0f} {floor / 1e6:>9.0f} {(eager - floor) / 1e6:>9.0f}"
