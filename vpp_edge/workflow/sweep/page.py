"""The page of a sweep: in, its points; out, one HTML file with their table and the front of latency against error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vpp_edge.files.writing import write_whole
from vpp_edge.html_page import Cell, html_page, html_table
from vpp_edge.origin import origin_of_results, versions_line
from vpp_edge.workflow.scatter_plot import scatter_svg
from vpp_edge.workflow.sweep.points import Point, front, spread_words, table_of

PAGE, DATA = "index.html", "sweep.json"
_INTRO = (
    "Each row is one policy: a student of the teacher, or the teacher itself, at one precision. Those in the front are "
    "on the line of the picture: nothing else is both faster and nearer to the teacher. Errors are those of normalized "
    "actions on held-out observations, against the float32 teacher's chunk of the same noise, measured on the bundle. "
    "Latencies are of one chunk. Those of devices are predicted by the cost model, not measured."
)


def write_results(folder: Path, points: Sequence[Point], device: str, facts: dict[str, str]) -> None:
    """Writes the page and the same as JSON.

    Args:
        facts: what was swept, by name.
    """
    origin = origin_of_results()
    best = [point.label for point in front(points, device)]
    data = {"device": device, "front": best, "points": [point.to_json() for point in points], **facts, "origin": origin}
    write_whole(folder / DATA, json.dumps(data, indent=1))
    spread = {"teacher's spread over noise": text} if (text := spread_words(points)) else {}
    listed = {
        **facts,
        **spread,
        "date": origin["date"],
        "versions": versions_line(origin),
        "machine": origin["machine"],
    }
    body = _chart(points, device) + _table(points, device)
    write_whole(folder / PAGE, html_page("Students: latency and error", intro=_INTRO, facts=listed, body=body))


def _chart(points: Sequence[Point], device: str) -> str:
    best = front(points, device)
    return scatter_svg(
        [(p.predicted_ms[device], p.action_rms, label) for p, label in zip(best, _short(best), strict=True)],
        f"predicted ms a chunk, {device}",
        "error of actions",
        f"Error of the actions and latency of a chunk, predicted for {device}; the line joins the front",
        others=[(p.predicted_ms[device], p.action_rms) for p in points if p not in best],
    )


def _short(points: Sequence[Point]) -> list[str]:
    """Their labels, without what is the same for all of them, and with the success where it was played."""
    words = [point.label.split("-") for point in points]
    same = set.intersection(*map(set, words)) if len(words) > 1 else set()
    names = [" ".join(word for word in each if word not in same) for each in words]
    shares = ["" if p.success is None else f" {100 * p.success.share:.0f} %" for p in points]
    return [name + share for name, share in zip(names, shares, strict=True)]


def _table(points: Sequence[Point], device: str) -> str:
    rows = list(table_of(points, device))
    heads = ("policy", *rows[0][2])
    return html_table(heads, ([_name(point, best), *map(_number, cells.values())] for point, best, cells in rows))


def _name(point: Point, best: bool) -> Cell:
    front_words = ["in the front"] if best else []
    return Cell(point.label, more=[*front_words, *(f"run refuses it: {each}" for each in point.problems)], kind="name")


def _number(text: str) -> Cell:
    return Cell(text, kind="number")
