"""The page of `vpp-edge chaos --html`: one self-contained HTML file without scripts."""

from __future__ import annotations

import os
import platform
from html import escape
from pathlib import Path
from typing import Any

from vpp_edge import __version__
from vpp_edge.files import write_whole
from vpp_edge.runtime.chaos.result import FAILED, NEEDS_HARDWARE, PASSED

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } p { color: #55606e; margin-top: 0; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .45rem .6rem; text-align: left; vertical-align: top; }
tr { border-bottom: 1px solid #e3e7ec; } th { border-bottom: 2px solid #9aa5b1; }
td:first-child, .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.passed { color: #14713d; } .failed { color: #b3261e; font-weight: 700; } .needs-hardware { color: #7a6a1f; }
.seen { color: #55606e; font-size: .92em; }
"""
STATUSES = (PASSED, FAILED, NEEDS_HARDWARE)


def write_page(path: Path, bundle: str, rows: list[dict[str, Any]]) -> Path:
    """Writes the rows of `vpp-edge chaos` as a table, atomically."""
    passed, failed, needing = (sum(row["status"] == status for row in rows) for status in STATUSES)
    head = "".join(f"<th>{name}</th>" for name in ("", "fault", "reaction", "bound", "result", "measured", "limit"))
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>vpp-edge chaos</title><style>{STYLE}</style></head><body>
<h1>Faults injected into runs of this bundle</h1>
<p>{escape(bundle)}: {passed} passed, {failed} failed, {needing} need hardware.
vpp-edge {__version__}, {escape(platform.machine())}, {os.cpu_count()} cores, simulated hand and cameras.</p>
<table><tr>{head}</tr>
{"".join(map(_table_row, rows))}</table></body></html>
"""
    write_whole(path, text.encode())
    return path


def _details(row: dict[str, Any]) -> str:
    return f"{row['seen']}. Measured: {row['measures']}" if row["measures"] else str(row["seen"])


def _table_row(row: dict[str, Any]) -> str:
    measured, bound = row["measured"], row["bound_ms"]
    cells = (
        f"<td>{row['id']}</td><td>{escape(row['fault'])}<div class='seen'>{escape(_details(row))}</div></td>"
        f"<td>{escape(row['reaction'])}</td><td>{escape(row['bound'])}</td>"
        f"<td class='{row['status']}'>{escape(row['status'])}</td>"
    )
    numbers = ("" if measured is None else f"{measured:.0f} ms", "" if bound is None else f"{bound:.0f} ms")
    return f"<tr>{cells}{''.join(f'<td class=number>{number}</td>' for number in numbers)}</tr>\n"
