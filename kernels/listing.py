"""The table of kernels: what each of them fuses, and how many bytes per inference that saves.

The rows were counted with PyTorch (`traffic.py`) and are kept beside this file, so that a robot can show them too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("traffic.json")

Row = dict[str, Any]


def kept_rows(kernels: Collection[str], cases: Collection[str]) -> list[Row]:
    """Traffic and operations of one call of each case, as `traffic.row_of_case` counts them.

    Args:
        kernels: names of the operations.
        cases: names of the cases; none: all full-size ones.
    """
    rows: list[Row] = json.loads(KEPT.read_text(encoding="utf-8"))
    return [r for r in rows if r["kernel"] in kernels and (r["case"] in cases if cases else r["calls"])]


def text_of_rows(rows: Sequence[Row]) -> str:
    """The content of the kept file: a row per line, so that a change shows which case it concerns."""
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"


def lines_of_listing(rows: Sequence[Row]) -> list[str]:
    """One line per kernel, summed over the calls of one fp16 inference, and a total."""
    lines = [f"{'kernel':<20} {'calls':>5} {'GOP':>6} {'eager MB':>9} {'floor MB':>9} {'saved MB':>9}  fuses"]
    total_eager = total_floor = 0
    for name, fuses in dict.fromkeys((row["kernel"], row["fuses"]) for row in rows):
        cases = [row for row in rows if row["kernel"] == name and row["precision"] == "fp16"]
        calls = sum(row["calls"] for row in cases)
        operations, eager, floor = (
            sum(row["calls"] * row[field] for row in cases) for field in ("operations", "eager_bytes", "floor_bytes")
        )
        lines.append(f"{name:<20} {calls:>5} {operations / 1e9:>6.1f} {_megabytes(eager, floor)}  {fuses}")
        total_eager, total_floor = total_eager + eager, total_floor + floor
    return [*lines, f"{'total':<33} {_megabytes(total_eager, total_floor)}"]


def _megabytes(eager: int, floor: int) -> str:
    return f"{eager / 1e6:>9.0f} {floor / 1e6:>9.0f} {(eager - floor) / 1e6:>9.0f}"
