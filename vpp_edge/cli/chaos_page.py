"""The page of `vpp-edge chaos --html`: one self-contained HTML file without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp_edge.cli.chaos_rows import Row, Rows, counts_of, measured
from vpp_edge.files.writing import write_whole
from vpp_edge.html_page import Cell, html_page, html_table
from vpp_edge.origin import versions_line
from vpp_edge.runtime.chaos.result import FAILED, PASSED

TITLE = "Faults injected into live runs"
INTRO = (
    "Each fault was injected into a run of its own with this policy, on a simulated hand and simulated cameras, in "
    "real time. A fault is passed if the reaction was right and in time; T is the period of the control loop. It is "
    "inconclusive if something was missing to see the reaction; that says nothing about the runtime."
)
HEADS = ("fault", "the runtime must", "within", "result", "measured", "at most")
KINDS = {PASSED: "good", FAILED: "bad"}


def write_page(path: Path, facts: dict[str, Any], rows: Rows) -> Path:
    """Writes the rows of `vpp-edge chaos` as a table, atomically; `facts` are those that --json has too."""
    text = html_page(TITLE, intro=INTRO, facts=_facts(facts, rows), body=html_table(HEADS, map(_cells, rows.rows)))
    write_whole(path, text)
    return path


def _facts(facts: dict[str, Any], rows: Rows) -> dict[str, str]:
    return {
        "result": counts_of(rows.rows),
        "bundle": facts["bundle"],
        "manifest SHA-256": facts["manifest_sha256"] or "none: a scripted policy",
        "policy": "not measured" if rows.pace is None else rows.pace.line(),
        "backend": facts["backend"],
        "date": facts["date"],
        "versions": versions_line(facts),
        "machine": facts["machine"],
    }


def _cells(row: Row) -> tuple[Cell, ...]:
    measures = f"Measured: {row['measures']}." if row["measures"] else ""
    return (
        Cell(f"{row['id']}. {row['fault']}", more=(row["about"], f"Seen: {row['seen']}.", measures), kind="name"),
        Cell(row["reaction"]),
        Cell(row["bound"]),
        Cell(row["status"], kind=KINDS.get(row["status"], "open")),
        Cell(measured(row), kind="number"),
        Cell("" if row["bound_ms"] is None else f"{row['bound_ms']:.0f} ms", kind="number"),
    )
