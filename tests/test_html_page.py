"""The one style of our pages: nothing from elsewhere, text is escaped, and a phone shows every column."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from vpp_edge.html_page import Cell, html_page, html_table

ROWS = [
    (Cell("first <b>", more=("about & more", ""), kind="name"), Cell("1.5", kind="number"), Cell("", kind="number")),
    (Cell("second", kind="name"), Cell("2", kind="number"), Cell('a "quoted" one', kind="number")),
]
PAGE = html_page(
    "Title & <more>",
    intro="An <intro>.",
    facts={"date": "2026-11-27"},
    body=html_table(("name", "size", 'of "x"'), ROWS),
)


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    return tags


def test_a_page_is_whole_and_its_text_is_escaped() -> None:
    page = parsed(PAGE)
    for text in ("Title & <more>", "An <intro>.", "date", "2026-11-27", "first <b>", "about & more", 'a "quoted" one'):
        assert text in page.text
    assert ("b", {}) not in page.tags


def test_a_page_needs_nothing_else() -> None:
    assert not {tag for tag, _ in parsed(PAGE).tags} & {"script", "link", "img", "iframe"}
    assert not re.search(r"url\(|@import|https?:", PAGE)


def test_a_phone_shows_every_column_as_a_labelled_line() -> None:
    page = parsed(PAGE)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert [attributes["data-head"] for tag, attributes in page.tags if tag == "td"] == ["name", "size", 'of "x"'] * 2
    phone = PAGE[PAGE.index("@media (max-width") :]
    assert "td { display: block; }" in phone and "attr(data-head)" in phone


def test_a_dark_browser_gets_every_colour_of_its_own() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", PAGE, re.DOTALL)
    names = [set(re.findall(r"--\w+(?=:)", colours)) for colours in (light, dark)]
    assert names[0] == names[1] and "color-scheme: light dark" in light
    assert not re.search(r"(?<!--ink: )(?<!\w)#[0-9a-f]{3,6}", PAGE[PAGE.index("* {") :])  # all others come from there


def test_numbers_and_their_head_are_aligned_alike() -> None:
    heads = [attributes.get("class") for tag, attributes in parsed(PAGE).tags if tag == "th"]
    assert heads == [None, "number", "number"]
