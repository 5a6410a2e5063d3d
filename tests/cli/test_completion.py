"""Completion scripts, read by the shells they are for."""

from __future__ import annotations

import argparse
import os
import pty
import select
import shlex
import shutil
import subprocess
import time
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


class Prompt:
    """An interactive shell on a terminal of its own, in a folder."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._terminal, its = pty.openpty()
        self._shell = subprocess.Popen(
            command,
            stdin=its,
            stdout=its,
            stderr=its,
            cwd=folder,
            env={**os.environ, "TERM": "dumb", "HOME": str(folder)},
            start_new_session=True,
        )
        os.close(its)

    def __enter__(self) -> Prompt:
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)

    def enter(self, line: str) -> None:
        """Runs a line, and waits for it."""
        os.write(self._terminal, f"{line}; echo do''ne\n".encode())
        self._read_until("\ndone")

    def completed(self, line: str) -> str:
        """The line as it is after the tab key; then clears it."""
        os.write(self._terminal, f"{line}\t".encode())
        seen = self._read_until(None)
        os.write(self._terminal, b"\x15")
        return seen

    def _read_until(self, text: str | None) -> str:
        """What the shell writes until `text`; for None, until it has been silent for half a second."""
        seen, end_s = "", time.monotonic() + HANGS_S
        while time.monotonic() < end_s and (text is None or text not in seen):
            ready, _, _ = select.select([self._terminal], [], [], 0.5)
            if ready:
                seen += os.read(self._terminal, 65536).decode("utf-8", "replace").replace("\r", "")
            elif text is None and seen:
                return seen
        return seen


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


KNOWN = {
    "run b --backend on": ["onnxruntime"],
    "run b --provider c": ["cpu", "cuda"],
    "run b --hand l": ["leap"],
    "run b --chunking n": ["naive"],
    "run b --camera re": ["realsense:"],
    "run b --camera static=v": ["static=video:"],
    "run b --camera static=video:my": ["static=video:my_bundle"],
    "run b --camera software:my": ["software:my_bundle"],
    "run b --hand leap:/dev/nul": ["leap:/dev/null"],
    "run b --hand leap:/dev/ttyUSB0?config=my": ["leap:/dev/ttyUSB0?config=my_bundle"],
    "chaos d": ["demo"],
    "chaos demo --fault 1": ["1", *map(str, range(10, 20))],
    "eval e": ["expert"],
    "eval d": ["demo"],
    "eval r": ["random"],
    "profile b --compare torch-": ["torch-cuda"],
    "profile b --roofline h": ["h100-sxm"],
    "build b --stage p": ["perceive"],
    "build b --builderOptimizationLevel 5": ["5"],
    "calibrate b d --method p": ["percentile"],
}


@pytest.mark.parametrize(("line", "offers"), KNOWN.items())
def test_bash_offers_what_is_known(folder_with_bundle: Path, line: str, offers: list[str]) -> None:
    assert complete_in_bash(*line.split(), folder=folder_with_bundle) == offers


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
@pytest.mark.parametrize("line", [line for line in KNOWN if "leap:" not in line])
def test_fish_offers_what_is_known(folder_with_bundle: Path, line: str) -> None:
    offers = complete_in_fish(f"vpp-edge {line}", folder_with_bundle)
    assert {offer.rstrip("/") for offer in offers} == set(KNOWN[line])


def test_the_words_that_are_offered_are_those_of_the_code() -> None:
    from vpp_edge.cli.chaos import FAULT_NUMBER
    from vpp_edge.cli.run import CAMERA_WORDS
    from vpp_edge.runtime.cameras.config import OPTIONS
    from vpp_edge.runtime.chaos.catalogue import FAULTS

    assert tuple(f"{kind}:" for kind in OPTIONS) == CAMERA_WORDS
    assert [fault.number for fault in FAULTS] == list(range(int(FAULT_NUMBER.low), int(FAULT_NUMBER.high) + 1))


TYPED = {
    "run b --camera static=vi": "static=video:",
    "run b --camera static=video:my": "static=video:my_bundle/",
    "run b --hand leap:/dev/nul": "leap:/dev/null ",
    "run b --backend on": "onnxruntime ",
    "chaos dem": "demo ",
    "eval exp": "expert ",
    "inspect my": "my_bundle/",
}
SHELLS = {
    "bash": (["bash", "--norc", "-i"], 'eval "$(cat script)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u; eval "$(cat script)"'),
}


@pytest.mark.live
@pytest.mark.parametrize("shell", SHELLS)
def test_the_tab_key_at_a_prompt(shell: str, folder_with_bundle: Path) -> None:
    """A shell splits words as it is set up to, which the functions alone do not show."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    (folder_with_bundle / "script").write_text(script_of_this_build(shell))
    command, begin = SHELLS[shell]
    with Prompt(command, folder_with_bundle) as prompt:
        prompt.enter(f"PS1=''; {begin}")
        for line, completed in TYPED.items():
            assert completed in prompt.completed(f"vpp-edge {line}"), line


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
