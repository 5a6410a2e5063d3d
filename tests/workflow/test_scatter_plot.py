"""The small chart of the report: valid, with every point inside, and no label on another one or on a point."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.workflow.scatter_plot import Box, label_boxes, scatter_svg

SVG = "{http://www.w3.org/2000/svg}"
OF_A_SMALL_POLICY = [
    (97.8, 5.09, "10.2 ms"),
    (95.6, 1.36, "10.3 ms"),
    (92.9, 0.99, "10.3 ms"),
    (86.1, 0.78, "10.5 ms"),
    (78.2, 0.58, "10.7 ms"),
    (58.7, 0.47, "11.5 ms"),
    (29.5, 0.07, "12.7 ms"),
    (0.0, 0.0, "13.1 ms"),
]


@pytest.mark.parametrize("points", [[(0.0, 0.0, "")], [(98.0, 1.3, "2 ms <&>"), (50.0, 0.2, "b"), (0.0, 0.0, "c")]])
def test_a_chart_is_valid_and_holds_every_point(points: list[tuple[float, float, str]]) -> None:
    root = ElementTree.fromstring(scatter_svg(points, "share, %", "error < 1", "title & more"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == len(points)
    assert all(0 < float(c.attrib["cx"]) < width and 0 < float(c.attrib["cy"]) < height for c in circles)


def test_every_label_of_a_real_choice_of_layers_is_there() -> None:
    root = ElementTree.fromstring(scatter_svg(OF_A_SMALL_POLICY, "share", "error", "title"))
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert sorted(text for text in texts if text and text.endswith("ms")) == sorted(p[2] for p in OF_A_SMALL_POLICY)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(60, 450), st.floats(30, 300)), min_size=1, max_size=8))
def test_labels_cover_neither_each_other_nor_a_point(places: list[tuple[float, float]]) -> None:
    boxes = [box for box in label_boxes(places, ["12.3 ms"] * len(places)) if box is not None]
    assert not any(a.meets(b) for a, b in combinations(boxes, 2))
    assert not any(box.meets(Box(x - 1, y - 1, x + 1, y + 1)) for box in boxes for x, y in places)
