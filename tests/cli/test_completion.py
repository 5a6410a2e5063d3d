"""Completion scripts, read by the shells they are for."""

from __future__ import annotations

import argparse
import shutil
import subprocess

import pytest

from vpp_edge.cli import completion, main


def complete_in_bash(*words: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    script = completion.bash_script(completion.list_commands())
    line = " ".join(f"'{word}'" for word in ("vpp-edge", *words))
    code = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _vpp_edge; printf "%s\\n" "${{COMPREPLY[@]}}"'
    answer = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=30)
    assert not answer.stderr
    return answer.stdout.split()


def test_bash_offers_the_commands_of_this_build() -> None:
    present = {name for name in main.COMMANDS if main.is_in_this_build(name)}
    assert present | {"--help", "--version"} == set(complete_in_bash(""))
    assert complete_in_bash("comp") == ["completion"]


def test_bash_offers_options_and_values() -> None:
    assert complete_in_bash("completion", "--j") == ["--json"]
    assert complete_in_bash("completion", "z") == ["zsh"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_reads_its_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    script = completion.SCRIPTS[shell](completion.list_commands())
    answer = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0 and not answer.stderr


def test_quotes_and_brackets_in_help_do_not_break_a_script() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--camera", help="the user's [static] camera: kind:path, 50%% of them")
    parser.add_argument("--precision", choices=["fp32", "int8"])
    command = completion._command("run", "it's run", parser)
    for shell, script in completion.SCRIPTS.items():
        text = script([command])
        assert "fp32 int8" in text
        if shutil.which(shell):
            answer = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, timeout=30)
            assert answer.returncode == 0, answer.stderr
