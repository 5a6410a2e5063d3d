"""Writes a benchmark's table into a document, between the marks of its script."""

from __future__ import annotations

from pathlib import Path

from vpp_edge.files import write_whole


def put_table(document: Path, script: str, text: str) -> None:
    """Replace the text between `<!-- table of benchmarks/SCRIPT -->` and `<!-- end of the table ... -->`.

    Raises:
        SystemExit: the document does not contain both marks.
    """
    begin, end = f"<!-- table of benchmarks/{script} -->", f"<!-- end of the table of benchmarks/{script} -->"
    before, has_begin, rest = document.read_text(encoding="utf-8").partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise SystemExit(f"{document}: has no lines {begin!r} and {end!r} to put the table between")
    write_whole(document, f"{before}{begin}\n\n{text}\n\n{end}{after}")
