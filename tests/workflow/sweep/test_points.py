"""The front holds what no other point beats, and nothing else; the page shows every point."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.workflow.sweep.page import DATA, PAGE, write_results
from vpp_edge.workflow.sweep.points import Point, front, table_of

DEVICE = "orin-agx-64gb"


def point(name: str, milliseconds: float, error: float, **others: object) -> Point:
    plain = {"student": name, "steps": 2, "precision": "fp16", "acts_per_look": 1, "operations": 10**9}
    return Point(**{**plain, **others}, name=name, predicted_ms={DEVICE: milliseconds}, action_rms=error)  # type: ignore[arg-type]


POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12).map(
    lambda found: [point(f"p{i}", float(ms), error / 10) for i, (ms, error) in enumerate(found)]
)


def beats(one: Point, other: Point) -> bool:
    """Better in one and no worse in the other."""
    faster, nearer = one.predicted_ms[DEVICE] - other.predicted_ms[DEVICE], one.action_rms - other.action_rms
    return faster <= 0 and nearer <= 0 and (faster < 0 or nearer < 0)


@given(points=POINTS)
def test_nothing_beats_the_front_and_it_beats_the_rest(points: list[Point]) -> None:
    best = front(points, DEVICE)
    assert best and not any(beats(other, each) for each in best for other in points)
    for other in points:
        same = [e for e in best if (e.predicted_ms, e.action_rms) == (other.predicted_ms, other.action_rms)]
        assert same or any(beats(each, other) for each in best)
    latencies = [each.predicted_ms[DEVICE] for each in best]
    assert latencies == sorted(set(latencies))


def test_a_column_without_values_is_left_out() -> None:
    rows = list(table_of([point("a", 2.0, 0.1), point("b", 1.0, 0.2)], DEVICE))
    assert [each.name for each, _, _ in rows] == ["a", "b"] and all(best for _, best, _ in rows)
    assert "success" not in rows[0][2] and "ms here" not in rows[0][2]
    (_, _, cells), *_ = table_of([point("c", 2.0, 0.1, success=SuccessRate(9, 10), acts_per_look=2)], DEVICE)
    assert cells["success"].startswith("90.0 %") and cells["acts per look"] == "2"


def test_the_page_and_the_data_name_every_point(tmp_path: Path) -> None:
    points = [
        point("frames8-steps2-fp16", 2.0, 0.1, success=SuccessRate(9, 10), teacher_spread=0.05),
        point("frames4-steps2-fp16", 1.0, 0.2, success=SuccessRate(5, 10)),
        point("width0.5-steps2-fp16", 2.5, 0.3, problems=("actions: too far",)),
    ]
    write_results(tmp_path, points, DEVICE, {"teacher": "my <policy>"})
    page, data = (tmp_path / PAGE).read_text(), json.loads((tmp_path / DATA).read_text())
    assert all(each.name in page for each in points) and "my &lt;policy&gt;" in page and "0.0500" in page
    assert page.count("run refuses it: actions: too far") == 1
    assert data["front"] == ["frames4-steps2-fp16", "frames8-steps2-fp16"]
    assert [each["action_rms"] for each in data["points"]] == [0.1, 0.2, 0.3]
    assert ">frames8 90 %<" in page  # a label of the picture leaves out what all have in common
