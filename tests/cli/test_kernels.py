"""`vpp-edge kernels` as it is typed: the report of a compilation, kept machine code, the table, and wrong usage."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from project import ROOT, shell_lines

from vpp_edge.cli import kernels as command
from vpp_edge.cli import main as cli
from vpp_edge.kernels.artifact import load_kernel
from vpp_edge.kernels.catalogue import OPERATIONS

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install -e '.[kernels]'"
)
ONE = ["kernels", "compile", "--kernel", "geglu", "--case", "unet-4x4", "--sm", "87", "90"]


@needs_triton
def test_the_report_has_registers_spills_and_shared_memory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main([*ONE, "--json", "--output", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [(k["kernel"], k["case"], k["sm"], k["spill_bytes"]) for k in said["kernels"]] == [
        ("geglu", "unet-4x4", 87, 0),
        ("geglu", "unet-4x4", 90, 0),
    ]
    assert all(k["registers"] > 0 and k["shared_bytes"] == 0 for k in said["kernels"])
    assert said["spilling"] == []
    assert [load_kernel(path).architecture for path in sorted(tmp_path.glob("*.json"))] == [87, 90]


@needs_triton
def test_spills_are_a_failed_check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from vpp_edge.kernels import compiler

    compile_case = compiler.compile_case
    monkeypatch.setattr(
        compiler, "compile_case", lambda *given: [replace(kernel, spill_bytes=8) for kernel in compile_case(*given)]
    )
    assert cli.main(ONE) == 1
    assert "2 of them spill registers" in capsys.readouterr().out


def test_the_table_counts_an_inference(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernels", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(OPERATIONS)
    eager, floor, saved = (int(word) for word in lines[-1].split()[1:])
    assert 0 < floor < eager and saved == pytest.approx(eager - floor, abs=1)


def test_the_page_on_kernels_shows_the_current_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernels", "list"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_exist() -> None:
    lines = shell_lines(ROOT / "docs" / "kernels.md", "vpp-edge")
    assert lines
    for words in lines:
        cli.build_parser({words[1]}).parse_args(words[1:])


def test_without_triton_the_message_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "is_installed", lambda module: False)
    assert cli.main(ONE) == 2
    said = capsys.readouterr().err
    assert "triton" in said and "pip install" in said and "[kernels]" in said


@pytest.mark.parametrize(
    "words",
    [
        ["compile", "--sm", "75"],
        ["compile", "--kernel", "rotary"],
        ["compile", "--case", "none"],
        ["list", "--sm", "87"],
        ["run"],
    ],
    ids=" ".join,
)
def test_wrong_usage_says_what_there_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernels", *words]) == 2
    assert capsys.readouterr().err.startswith("error: ")
