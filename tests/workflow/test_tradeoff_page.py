"""The page of `calibrate --report`: what it says, and where it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpp_edge import __version__
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.workflow.tradeoff import Point
from vpp_edge.workflow.tradeoff_page import page_path, write_page

POINTS = [
    Point(share=0.956, high=41, expected_error=0.0112, error=0.0136, cosine=0.9998, predicted_ms=10.28),
    Point(share=0.0, high=412, expected_error=0.0, error=0.0, cosine=1.0, predicted_ms=13.06),
]


def test_it_says_what_was_measured_on_what_and_when(small_bundle: Path, tmp_path: Path) -> None:
    path, bundle = tmp_path / "new" / "report.html", Bundle(small_bundle)
    write_page(
        path,
        POINTS,
        bundle=bundle,
        observations="4 observations of <1>",
        separation="CAUTION: one",
        device="orin-agx-64gb",
    )
    page = path.read_text()
    for text in (bundle.manifest_sha256, "4 observations of &lt;1&gt;", "orin-agx-64gb", f"vpp-edge {__version__}"):
        assert text in page
    for cell in ("95.6 %", "41", "1.12 %", "1.36 %", "0.99980", "10.28", "412", "13.06"):
        assert f">{cell}</td>" in page
    assert page.count("<circle") == 2 and "UTC" in page
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("given", "page"), [("a.html", "a.html"), ("A.HTM", "A.HTM"), ("report", "report/report.html")]
)
def test_a_page_has_the_name_that_was_given_or_lies_in_the_folder(tmp_path: Path, given: str, page: str) -> None:
    assert page_path(tmp_path / given) == tmp_path / page


def test_an_existing_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "of.md").mkdir()
    assert page_path(tmp_path / "of.md") == tmp_path / "of.md" / "report.html"


@pytest.mark.parametrize(("name", "remedy"), [("report.md", "report.html"), ("a.b.txt", "a.b.html")])
def test_another_kind_of_file_is_refused_with_the_name_to_use(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(BadInputError, match=f"{name}: the report is an HTML page; name it .*/{remedy}"):
        page_path(tmp_path / name)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("")
    with pytest.raises(BadInputError, match="this is a file, not a folder; name the page itself"):
        page_path(tmp_path / "report")
