"""The table of kernels: what each of them fuses, and how many bytes per inference that saves."""

from __future__ import annotations

from typing import Any

from vpp_edge.kernels.catalogue import load_operation
from vpp_edge.kernels.operation import Case, Operation
from vpp_edge.kernels.traffic import traffic_of


def row_of_case(operation: Operation, case: Case) -> dict[str, Any]:
    """Traffic and operations of one call of a case."""
    traffic = traffic_of(operation, case)
    return {
        "kernel": operation.name,
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
    """One line per kernel, summed over the calls of one fp16 inference, and a total."""
    lines = [f"{'kernel':<20} {'calls':>5} {'GOP':>6} {'eager MB':>9} {'floor MB':>9} {'saved MB':>9}  fuses"]
    total_eager = total_floor = 0
    for name in dict.fromkeys(row["kernel"] for row in rows):
        cases = [row for row in rows if row["kernel"] == name and row["precision"] == "fp16"]
        calls = sum(row["calls"] for row in cases)
        operations, eager, floor = (
            sum(row["calls"] * row[field] for row in cases) for field in ("operations", "eager_bytes", "floor_bytes")
        )
        lines.append(
            f"{name:<20} {calls:>5} {operations / 1e9:>6.1f} {_megabytes(eager, floor)}  {load_operation(name).fuses}"
        )
        total_eager, total_floor = total_eager + eager, total_floor + floor
    return [*lines, f"{'total':<33} {_megabytes(total_eager, total_floor)}"]


def _megabytes(eager: int, floor: int) -> str:
    return f"{eager / 1e6:>9.0f} {floor / 1e6:>9.0f} {(eager - floor) / 1e6:>9.0f}"
