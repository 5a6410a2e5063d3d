"""The page of `vpp-edge calibrate --report`: the choices of INT8 layers as a table and a chart, in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.files.writing import write_whole
from vpp_edge.html_page import Cell, html_page, html_table
from vpp_edge.origin import origin_of_results, versions_line
from vpp_edge.workflow.scatter_plot import scatter_svg
from vpp_edge.workflow.tradeoff import Point

NAME = "report.html"
HEADS = (
    "in INT8, of all MACs",
    "layers kept in FP16",
    "expected error",
    "measured error",
    "cosine of tokens",
    "predicted ms",
)
INTRO = (
    "Each row is one choice of the layers that run in INT8; the others stay in FP16. More INT8 is faster and less "
    "exact. MACs are the multiply-accumulates of an inference. Errors are relative RMS errors of the actions: expected "
    "from the sensitivities of the single layers, and measured. Latency is predicted by the cost model, not measured."
)


def page_path(path: Path) -> Path:
    """Where the page for `--report PATH` goes: the file of that name, or report.html in the folder of that name.

    Raises:
        BadInputError: the name is that of another kind of file.
    """
    if path.suffix.lower() in (".html", ".htm") and not path.is_dir():
        return path
    if path.suffix and not path.is_dir():
        raise BadInputError(
            f"--report {path}: the report is an HTML page; name it {path.with_suffix('.html')}, or give a folder"
        )
    if path.is_file():
        raise BadInputError(f"--report {path}: this is a file, not a folder; name the page itself, {path}.html")
    return path / NAME


def write_page(
    path: Path, points: Sequence[Point], *, bundle: Bundle, observations: str, separation: str, device: str
) -> None:
    """Writes the page, atomically.

    Args:
        observations: what the errors were measured on; `separation`: whether that was calibrated on.
        device: whose latency was predicted.
    """
    origin = origin_of_results()
    facts = {
        "bundle": str(bundle.path),
        "manifest SHA-256": bundle.manifest_sha256,
        "evaluated on": observations,
        "kept apart": separation,
        "latency predicted for": device,
        "date": origin["date"],
        "versions": versions_line(origin),
        "machine": origin["machine"],
    }
    chart = scatter_svg(
        [(100 * p.share, 100 * p.error, f"{p.predicted_ms:.1f} ms") for p in points],
        "multiply-accumulates in INT8, %",
        "measured error of the actions, %",
        f"INT8 share, error and predicted latency on {device}",
    )
    body = html_table(HEADS, map(_cells, points)) + chart
    write_whole(path, html_page("INT8: share, error and latency", intro=INTRO, facts=facts, body=body))


def _cells(point: Point) -> list[Cell]:
    texts = (
        f"{100 * point.share:.1f} %",
        str(point.high),
        f"{100 * point.expected_error:.2f} %",
        f"{100 * point.error:.2f} %",
        f"{point.cosine:.5f}",
        f"{point.predicted_ms:.2f}",
    )
    return [Cell(text, kind="number") for text in texts]
