"""`~` means the home folder also where the shell leaves it: inside an address and after `=`."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpp_edge.cli.main import Parser, main
from vpp_edge.files.paths import path_from_text
from vpp_edge.runtime.hands.config import device_and_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("text", "path"), [("~", ""), ("~/a", "/a"), ("~/a b/~", "/a b/~"), ("~//a", "/a")])
def test_the_home_folder_is_filled_in(home: Path, text: str, path: str) -> None:
    assert path_from_text(text) == f"{home}{path}"


@pytest.mark.parametrize("text", ["", "a", "a/~", "~nobody-of-this-name/a", "./~", "/~", "a//b/", "123"])
def test_every_other_text_stays_as_it_is(text: str) -> None:
    assert path_from_text(text) == text


def test_the_file_of_a_hand_may_be_there(home: Path) -> None:
    assert device_and_file("leap", "/dev/ttyUSB0?config=~/leap.json") == ("/dev/ttyUSB0", home / "leap.json")


def test_an_option_with_an_equals_sign_may_be_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser()
    parser.add_argument("--golden", type=Path)
    parser.add_subparsers().add_parser("verify").add_argument("--log", type=Path)
    given = parser.parse_args(["--golden=~/x.npz", "verify", "--log=~/run.mcap"])
    assert (given.golden, given.log) == (home / "x.npz", home / "run.mcap")
    assert main(["inspect", "~/none"]) == 2
    assert f"{home}/none: no such bundle folder" in capsys.readouterr().err
