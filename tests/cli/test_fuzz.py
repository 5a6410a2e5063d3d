"""Command lines that nobody would write: each ends with status 0, 1 or 2 and words of our own, none with a traceback.

Commands that might do real work are only parsed; the others run on files that are no bundle and no checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpp_edge.cli import main as cli
from vpp_edge.cli.numbers import Number
from vpp_edge.errors import VppEdgeError

PARSER = cli.build_parser(cli.COMMANDS)
COMMANDS = next(a for a in PARSER._actions if isinstance(a, argparse._SubParsersAction)).choices
RUN = ("inspect", "verify", "build", "profile", "export", "calibrate", "completion", "run")  # never on a bundle here
FUZZ = settings(
    derandomize=True, deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

FILES = ("empty", "nowhere/at/all", "file.txt", "broken", "file.npz", "~", ".", "/dev/null", "list.json", "broken/")
NUMBERS = ("0", "1", "-1", "2", "86", "0.5", "nan", "inf", "1e400", "9" * 500, "1_0", "-0", "٣")
WORDS = (
    "", " ", "--", "-", "=", "x", "-x", "--x", "a=b", "ü", "🤖", "a" * 3000, "\n", "\t\x1b[31m", "%s", "'", "$(x)",
    "onnxruntime", "tensorrt", "torch", "cpu", "cuda", "fp16", "int8", "text", "sim", "sim:x", "leap:", "scripted ",
)  # fmt: skip
CAMERAS = (
    "video:file.txt", "static=video:file.txt?fps=9", "software:sim/top", "software:sim/x", "video:", "=", "a=", "?",
    "realsense", "bag:file.txt?loop=2", "wrist=software:sim/top?width=1e9&height=-3", "video:x?fps=", "::??&&==",
)  # fmt: skip
written = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
texts = st.one_of(st.sampled_from(FILES + NUMBERS + WORDS + CAMERAS), written)


@st.composite
def command_lines(draw: st.DrawFn, commands: tuple[str, ...]) -> list[str]:
    """A command with its arguments and a few of its options, most of which have what they take."""
    name = draw(st.sampled_from(commands))
    actions = [a for a in COMMANDS[name]._actions if not isinstance(a, argparse._HelpAction)]
    optional = [a for a in actions if a.option_strings and not a.required]
    chosen = draw(st.lists(st.sampled_from(optional), max_size=3, unique=True))
    needed = [a for a in actions if a not in optional and (a.nargs is None or draw(st.booleans()))]
    words: list[str] = []
    for action in needed + chosen:
        option, values = (*action.option_strings, "")[0], draw(values_of(action))
        joined = option and len(values) == 1 and draw(st.booleans())
        words += [f"{option}={values[0]}"] if joined else [option, *values] if option else values
    if draw(st.integers(0, 9)) == 9:  # something is missing, doubled or in the wrong place
        words = draw(st.lists(st.one_of(st.sampled_from(words or [""]), texts), max_size=6))
    return [name, *words]


def values_of(action: argparse.Action) -> st.SearchStrategy[list[str]]:
    """What follows an option, or stands for an argument: in most cases something that it may take."""
    if action.nargs == 0:
        return st.just([])
    usual: tuple[str, ...] = tuple(map(str, action.choices)) if action.choices else FILES
    if isinstance(action.type, Number):
        usual = ("1", "2", "86")
    elif action.dest == "camera":
        usual = CAMERAS
    value = st.integers(0, 7).flatmap(lambda n: texts if n == 7 else st.sampled_from(usual))
    return st.lists(value, min_size=1, max_size=2 if action.nargs == "+" else 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Files of all kinds, as the working directory; no bundle, no checkpoint, no recording among them."""
    folder, before = tmp_path_factory.mktemp("fuzz"), Path.cwd()
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text('{"schema_version": 2}')
    (folder / "file.txt").write_text("text\n")
    (folder / "file.npz").write_bytes(b"PK\x05\x06" + bytes(18))
    (folder / "list.json").write_text("[1, 2]")
    os.chdir(folder)
    yield folder
    os.chdir(before)


def ended(words: list[str]) -> tuple[int, str, str]:
    """Status, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(words)
    return status, out.getvalue(), err.getvalue()


@FUZZ
@given(words=command_lines(RUN))
def test_every_command_line_ends_with_a_status_and_words_of_our_own(folder: Path, words: list[str]) -> None:
    status, _, err = ended(words)
    assert status in (0, 1, 2), (status, err)
    assert "Traceback" not in err and "this is a bug" not in err, err
    assert status == 0 or any(line.startswith("error: ") for line in err.splitlines()), err


@FUZZ
@given(words=command_lines(tuple(COMMANDS)))
def test_every_command_line_is_parsed_or_refused(words: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.build_parser({words[0]}).parse_args(words)
        except VppEdgeError as error:
            assert error.exit_status == 2 and "--help" in str(error)
        except SystemExit as end:  # --help
            assert end.code == 0


@FUZZ
@given(words=st.lists(texts, max_size=4))
def test_words_without_a_command_are_refused(folder: Path, words: list[str]) -> None:
    status, _, err = ended(words)
    assert status == 2 and err.startswith("error: "), (status, err)
