"""Completion scripts, read by the shells they are for."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from cpu_time import HANGS_S

from vpp_edge.cli import completion, main


@cache
def script_of_this_build(shell: str) -> str:
    return completion.script_from_parser(main.build_parser(present_commands()), shell)


def present_commands() -> list[str]:
    return [name for name in main.COMMANDS if main.is_in_this_build(name)]


def complete_in_bash(*words: str, folder: Path | None = None) -> list[str]:
    """What bash would offer for the last of `words`."""
    line = shlex.join(("vpp-edge", *words))
    call = f'COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_vpp_edge; printf "%s\\n" "${{COMPREPLY[@]}}"'
    code = f"{script_of_this_build('bash')}\n{call}"
    answer = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=HANGS_S, cwd=folder)
    assert not answer.stderr
    return answer.stdout.split()


def complete_in_fish(line: str, folder: Path | None = None) -> list[str]:
    """What fish would offer at the end of `line`."""
    code = f"{script_of_this_build('fish')}\ncomplete -C {shlex.quote(line)}"
    answer = subprocess.run(["fish", "-c", code], capture_output=True, text=True, timeout=HANGS_S, cwd=folder)
    assert not answer.stderr
    return [offer.partition("\t")[0] for offer in answer.stdout.splitlines()]


@pytest.fixture
def folder_with_bundle(tmp_path: Path) -> Path:
    (tmp_path / "my_bundle").mkdir()
    return tmp_path


def test_bash_offers_the_commands_of_this_build() -> None:
    assert set(present_commands()) == set(complete_in_bash(""))
    assert {"-h", "--help", "--version"} == set(complete_in_bash("-"))
    assert complete_in_bash("comp") == ["completion"]


def test_bash_offers_options_and_values() -> None:
    assert complete_in_bash("completion", "--j") == ["--json"]
    assert complete_in_bash("completion", "z") == ["zsh"]
    assert complete_in_bash("export", "--precision", "") == ["fp32", "fp16", "int8"]
    assert complete_in_bash("build", "my_bundle", "--stage", "text", "--pru") == ["--prune"]


PATHS = [
    ("inspect",),
    ("run",),
    ("eval",),
    ("chaos",),
    ("verify", "bundle"),
    ("export", "-o"),
    ("run", "b", "--record"),
    ("run", "b", "--log"),
]


@pytest.mark.parametrize("words", PATHS, ids=" ".join)
def test_bash_offers_files_for_paths(folder_with_bundle: Path, words: tuple[str, ...]) -> None:
    assert complete_in_bash(*words, "my", folder=folder_with_bundle) == ["my_bundle"]


def test_bash_offers_no_files_for_numbers(folder_with_bundle: Path) -> None:
    assert complete_in_bash("run", "b", "--seed", "my", folder=folder_with_bundle) == []


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_offers_commands_options_values_and_paths(folder_with_bundle: Path) -> None:
    assert set(present_commands()) == set(complete_in_fish("vpp-edge "))
    assert complete_in_fish("vpp-edge completion --j") == ["--json"]
    assert complete_in_fish("vpp-edge export --precision f") == ["fp32", "fp16"]
    for words in PATHS:
        assert complete_in_fish(f"vpp-edge {' '.join(words)} my", folder_with_bundle) == ["my_bundle/"]
    assert complete_in_fish("vpp-edge run b --seed my", folder_with_bundle) == []


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_shell_reads_its_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    answer = subprocess.run(
        [shell, "-n"], input=script_of_this_build(shell), capture_output=True, text=True, timeout=HANGS_S
    )
    assert answer.returncode == 0 and not answer.stderr


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_quotes_brackets_and_colons_do_not_break_a_script(shell: str) -> None:
    parser = argparse.ArgumentParser(prog="vpp-edge")
    command = parser.add_subparsers().add_parser("run", help="it's run", description='it\'s "run" [now]: `date`')
    command.add_argument("--camera", metavar="KIND:PATH", help="the user's [static] camera: kind:path, 50%% of them")
    command.add_argument("--precision", choices=["fp32", "int8"])
    script = completion.script_from_parser(parser, shell)
    assert "fp32 int8" in script and "KIND:PATH" not in script
    if shutil.which(shell):
        answer = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=HANGS_S)
        assert answer.returncode == 0, answer.stderr
