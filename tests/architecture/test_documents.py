"""The documents agree with each other and with the program: results stand in one place, and commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from project import ROOT, shell_lines

from vpp_edge.cli.main import COMMANDS, build_parser
from vpp_edge.runtime.session.config import SessionConfig

CLOSED_LOOP = ROOT / "docs" / "closed-loop.md"
CARD = ROOT / "vpp_edge" / "demo_policy" / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md"), CARD])
TABLE = re.compile(
    r"<!-- table of benchmarks/(\w+\.py) -->\n(.*?)<!-- end of the table of benchmarks/\1 -->", re.DOTALL
)


def rows_of(document: Path, script: str) -> list[list[str]]:
    """The cells of the table that a script has written into a document, without the header."""
    (table,) = (text for by, text in TABLE.findall(document.read_text(encoding="utf-8")) if by == script)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def column_names(document: Path, script: str) -> list[str]:
    """The header of that table."""
    (table,) = (text for by, text in TABLE.findall(document.read_text(encoding="utf-8")) if by == script)
    header = next(line for line in table.splitlines() if line.startswith("|"))
    return [cell.strip() for cell in header.strip("|").split("|")]


def prose_of(document: Path) -> str:
    """A document without generated tables."""
    return TABLE.sub("", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_commands_exist(document: Path) -> None:
    for words in shell_lines(document, "vpp-edge"):
        assert words[1] in COMMANDS
        if not any("$" in word for word in words):  # the body of a loop
            build_parser({words[1]}).parse_args(words[1:])
    named = set(re.findall(r"vpp-edge ([a-z]+)", "".join(re.findall(r"`[^`]*`", document.read_text(encoding="utf-8")))))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_tables_come_from_scripts_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert len(TABLE.findall(text)) == text.count("<!-- table of ")
    assert all((ROOT / "benchmarks" / script).is_file() for script, _ in TABLE.findall(text))


def test_the_model_card_repeats_no_result() -> None:
    results = CARD.read_text(encoding="utf-8").partition("## Results")[2].partition("\n## ")[0]
    assert "docs/closed-loop.md" in results
    assert not re.search(r"\d+ of \d+|\d %|\d s\b", results)


def test_the_model_card_has_the_sizes_of_its_files() -> None:
    text, folder = CARD.read_text(encoding="utf-8"), CARD.parent
    parts = re.findall(r"\| ([\d.]+) MB \| `([^`]+)` \|", text)
    assert {place for _, place in parts} == {
        str(path.relative_to(folder)) if path.parent == folder else str(path.parent.relative_to(folder))
        for path in folder.rglob("*.safetensors")
    }
    for size, place in parts:
        files = [folder / place] if (folder / place).is_file() else (folder / place).glob("*.safetensors")
        assert float(size) == round(sum(path.stat().st_size for path in files) / 1e6, 1), place
    total = f"{sum(path.stat().st_size for path in folder.rglob('*.safetensors')) / 1e6:.1f} MB"
    assert total in text and total in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_is_said_about_the_closed_loop_is_what_its_table_says() -> None:
    names, cells = column_names(CLOSED_LOOP, "closed_loop.py"), rows_of(CLOSED_LOOP, "closed_loop.py")
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    said = prose_of(CLOSED_LOOP).partition("Beyond that:")[2]
    guessing = next(row for row in rows if row["policy"] == "demo, on features of an untrained video model")
    share, wrong, late, stopped = (
        guessing[name] for name in ("success (95 % interval)", "wrong button", "out of time", "stopped by the loop")
    )
    pressed = round(4 * float(share.partition(" ")[0]))  # of 400
    assert pressed + int(wrong) + int(late) + int(stopped) == 400
    counts = re.search(
        r"presses the\s+requested button (\d+) times and another one (\d+) times.* In (\d+) other", said, re.DOTALL
    )
    assert counts is not None and counts.groups() == (str(pressed), wrong, stopped)
    measured = {cell for row in cells for cell in row}
    assert set(re.findall(r"\d+\.\d+", said.replace("0.001", ""))) <= measured


def test_one_act_per_look_is_the_default_because_it_is_the_best_in_the_table() -> None:
    said = prose_of(CLOSED_LOOP).partition("## Acting more often than looking")[2].partition("\n## ")[0]
    assert "It does not pay here, so the default is 1:" in said and SessionConfig.acts_per_look == 1
    press_s: dict[tuple[str, str], dict[int, float]] = {}
    for chunking, delay_ms, acts, _, _, seconds, *_ in rows_of(CLOSED_LOOP, "acts_per_look.py"):
        press_s.setdefault((chunking, delay_ms), {})[int(acts)] = float(seconds)
    assert len(press_s) > 2 and all(min(found, key=lambda acts: found[acts]) == 1 for found in press_s.values())


def test_the_page_on_quantization_counts_its_layers_once() -> None:
    text = (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
    kept = re.findall(r"^\| [\d.]+ % \| (\d+) \|", text, flags=re.MULTILINE)
    assert len(kept) > 5 and kept == sorted(kept, key=int)
    assert not re.search(r"about \d+ layers", text)
