"""Generated tables in documents: replaces the text between the markers of a benchmark script."""

from __future__ import annotations

from pathlib import Path

from vpp_edge.files.writing import write_whole


def put_table(document: Path, script: str, text: str) -> None:
    """Replaces the text between `<!-- table of benchmarks/SCRIPT -->` and its end marker; SystemExit without them."""
    begin, end = f"<!-- table of benchmarks/{script} -->", f"<!-- end of the table of benchmarks/{script} -->"
    before, begun, rest = document.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise SystemExit(f"{document}: has no lines {begin!r} and {end!r} to put the table between")
    write_whole(document, f"{before}{begin}\n\n{text}\n\n{end}{after}")
