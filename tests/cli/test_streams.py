"""Streams, working directory, words and locale that are not as usual: a result or an own error, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.session.config import SessionConfig

COMMAND = f"{sys.executable} -c 'import sys; from vpp_edge.cli.main import main; sys.exit(main())'"
HANGS_S = 120
# A command that prints a result, one that shows progress, one that is refused, one that asks, and argparse's own ends.
COMMANDS = {
    "chaos demo --list": 0,
    "chaos demo --list --json": 0,
    "eval expert --episodes 1 --processes 1": 0,
    "inspect nowhere": 2,
    "inspect nowhere --json": 2,
    "run latency_ms=20 --backend scripted --hand leap:nowhere --instruction x --camera software:sim/top": 2,
    "--help": 0,
    "levitate": 2,
}


def shell(words: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    answer = subprocess.run(
        ["sh", "-c", f"{COMMAND} {words} {redirection}"],
        capture_output=True,
        timeout=HANGS_S,
        env={**os.environ, **environment},
    )
    assert b"Traceback" not in answer.stderr and b"bug" not in answer.stderr, answer.stderr
    return answer


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("closed", [">&-", "2>&- <&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_one_that_nobody_wants(words: str, closed: str) -> None:
    assert shell(words, closed).returncode == COMMANDS[words]


@pytest.mark.parametrize("words", COMMANDS)
def test_an_error_output_that_is_full_changes_nothing(words: str) -> None:
    answer, usual = shell(words, "2>/dev/full"), shell(words)
    assert answer.returncode == COMMANDS[words]
    assert words.startswith("eval") or answer.stdout == usual.stdout


@pytest.mark.parametrize("words", [w for w in COMMANDS if COMMANDS[w] == 0])
def test_a_result_that_cannot_be_printed_is_an_error(words: str) -> None:
    answer = shell(words, ">/dev/full")
    assert answer.returncode == 1
    last = answer.stderr.decode().splitlines()[-1]
    assert last == "error: standard output: No space left on device; what was to be printed is lost"


def test_an_error_as_json_that_cannot_be_printed_keeps_its_status() -> None:
    assert shell("inspect nowhere --json", ">/dev/full").returncode == 2


def test_a_closed_stream_is_not_taken_by_a_file_of_ours(tmp_path: Path) -> None:
    """A descriptor that is free would be that of the next open file, and what libraries print would go into it."""
    code = (
        "import os, sys; from vpp_edge.cli.main import main; main(['--version'])\n"
        "file = open(sys.argv[1], 'w'); os.write(1, b'noise'); os.write(2, b'noise'); print('more')"
    )
    written = tmp_path / "file"
    command = f'{sys.executable} -c "$0" "$1" >&- 2>&- <&-'
    assert subprocess.run(["sh", "-c", command, code, written], timeout=HANGS_S).returncode == 0
    assert written.read_text() == ""


def test_a_reader_that_is_slow_and_does_not_block_loses_nothing() -> None:
    """Terminals of some programs are non-blocking: a full one is no error."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received: list[bytes] = []

    def read() -> None:
        while content := os.read(reader, 1000):
            received.append(content)

    with os.fdopen(writer, "wb") as output:
        process = subprocess.Popen(["sh", "-c", f"{COMMAND} completion bash"], stdout=output, stderr=subprocess.PIPE)
    thread = threading.Thread(target=read)
    thread.start()
    _, error = process.communicate(timeout=HANGS_S)
    thread.join(HANGS_S)
    os.close(reader)
    assert (process.returncode, error) == (0, b"")
    assert b"".join(received) == shell("completion bash").stdout


@pytest.mark.parametrize("words", ["doctor", "chaos demo --list", "eval expert", "inspect x", "completion bash"])
def test_a_deleted_working_directory_is_named(words: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {COMMAND} {words}"
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=HANGS_S)
    assert answer.returncode == 2
    assert "the working directory does not exist any more" in answer.stderr and "Traceback" not in answer.stderr


def test_help_needs_no_working_directory(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && {COMMAND} --help"
    assert subprocess.run(["sh", "-c", command], capture_output=True, timeout=HANGS_S).returncode == 0


LATIN, ASCII = "gr\udcfcn", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def called(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from vpp_edge.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, env={**os.environ, **environment})


@pytest.mark.parametrize(
    "place", [("inspect", LATIN), ("eval", "expert", "--seed", LATIN), (LATIN,), ("demo", "-o", LATIN)]
)
@pytest.mark.parametrize("as_json", [False, True])
def test_words_that_are_not_utf8_are_refused(place: tuple[str, ...], as_json: bool) -> None:
    answer = called(*place, *(["--json"] if as_json else []))
    assert answer.returncode == 2
    assert r"b'gr\xfcn' is not UTF-8" in answer.stderr and "Traceback" not in answer.stderr
    assert not as_json or "not UTF-8" in json.loads(answer.stdout)["error"]


def test_an_instruction_that_is_not_utf8_is_refused_by_the_python_face_too() -> None:
    with pytest.raises(BadInputError, match="UTF-8"):
        SessionConfig(bundle="b", cameras=(), hand=None, instruction=LATIN)  # type: ignore[arg-type]


def test_a_locale_without_the_characters_of_a_word_is_named() -> None:
    answer = called("inspect", "grün", **ASCII)
    assert answer.returncode == 2 and "LC_ALL=C.UTF-8" in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.parametrize("words", ["chaos demo --list", "completion zsh", "eval expert --episodes 1", "run --help"])
def test_an_ascii_locale_prints_everything(words: str) -> None:
    answer = called(*words.split(), **ASCII, PYTHONIOENCODING="ascii")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.isascii()


def test_a_bundle_name_that_is_not_ascii_is_printed_as_escapes(tmp_path: Path) -> None:
    folder = tmp_path / "grün"
    folder.mkdir()
    answer = called("inspect", str(folder), PYTHONIOENCODING="ascii")
    assert answer.returncode == 2 and r"gr\xfcn" in answer.stderr and "Traceback" not in answer.stderr
