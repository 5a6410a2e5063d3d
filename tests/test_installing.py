"""The command that adds an extra works however this copy was installed, and no other place says how."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cpu_time import HANGS_S
from packaging.requirements import Requirement
from project import ROOT

from vpp_edge import __version__, installing
from vpp_edge.cli.libraries import LIBRARIES, install_command
from vpp_edge.cli.main import main

PIP = ["-m", "pip", "install"]


class Recorded:
    """An installation of which pip wrote this down."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.text


def arguments_of(command: str) -> list[str]:
    """What follows `pip install`, as a shell splits it, without the remark behind it."""
    words = shlex.split(command.partition("   ")[0])
    assert words[:4] == [sys.executable, *PIP]
    return words[4:]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes this copy one in site-packages, of which pip wrote `origin` down."""

    def install(origin: object) -> None:
        text = origin if origin is None or isinstance(origin, str) else json.dumps(origin)
        monkeypatch.setattr(installing.vpp_edge, "__file__", str(tmp_path / "site-packages" / "vpp_edge" / "x.py"))
        monkeypatch.setattr(installing.importlib.metadata, "distribution", lambda name: Recorded(text))

    return install


def test_in_a_checkout_it_is_the_checkout() -> None:
    assert arguments_of(installing.pip_install("sim", "video")) == ["-e", f"{ROOT}[sim,video]"]
    assert arguments_of(installing.pip_install()) == ["-e", str(ROOT)]


def test_pip_understands_it() -> None:
    """With pip's own parser, which needs no network for a folder that is installed already."""
    found = subprocess.run(
        [sys.executable, *PIP, "--dry-run", "--no-deps", "--no-index", "--no-build-isolation",
         *arguments_of(installing.pip_install("sim"))],
        capture_output=True, text=True, timeout=HANGS_S,
    )  # fmt: skip
    if "setuptools" in found.stderr:
        pytest.skip("setuptools is not installed here, and this test does not use the network")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("kind", ["archive_info", "dir_info"])
def test_from_a_wheel_or_a_folder_it_is_that_path(installed: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "my wheels" / "vpp_edge-0.1.0-py3-none-any.whl"
    path.parent.mkdir()
    path.touch()
    installed({"url": path.as_uri(), kind: {}})
    assert arguments_of(installing.pip_install("sim")) == [f"{path}[sim]"]
    path.unlink()
    command = installing.pip_install("sim")
    assert arguments_of(command) == [f"{path}[sim]"] and "is gone: copy it there again" in command


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (
            {"url": "https://host/vpp.git", "vcs_info": {"vcs": "git", "commit_id": "4f2"}},
            "vpp-edge[sim] @ git+https://host/vpp.git@4f2",
        ),
        ({"url": "https://host/vpp_edge-0.1.0-py3-none-any.whl", "archive_info": {}},
         "vpp-edge[sim] @ https://host/vpp_edge-0.1.0-py3-none-any.whl"),
        (None, "vpp-edge[sim]"),  # an index had it by its name
        ("no json", "vpp-edge[sim]"),
        ("[]", "vpp-edge[sim]"),
    ],
)  # fmt: skip
def test_from_elsewhere_it_is_a_requirement(installed: Any, origin: object, expected: str) -> None:
    installed(origin)
    (argument,) = arguments_of(installing.pip_install("sim"))
    assert argument == expected
    requirement = Requirement(argument)
    assert requirement.name == "vpp-edge" and requirement.extras == {"sim"}


@pytest.mark.parametrize("module", [name for name, library in LIBRARIES.items() if library.extra is not None])
def test_every_library_is_installed_from_the_same_place(module: str) -> None:
    extra = LIBRARIES[module].extra
    assert arguments_of(install_command(module)) == ["-e", f"{ROOT}[{extra}]" if extra else str(ROOT)]


def test_a_command_that_misses_a_library_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").touch()
    from vpp_edge.video import read_frames

    with pytest.raises(Exception, match=re.escape(installing.pip_install("video"))):
        list(read_frames(tmp_path / "a.mp4"))
    monkeypatch.setattr("vpp_edge.cli.kernels.is_installed", lambda module: False)
    assert main(["kernels", "compile"]) == 2
    assert installing.pip_install("kernels") in capsys.readouterr().err


FOLDERS = (
    "vpp_edge",
    "kernels",
    "export",
    "runtime",
    "calibration",
    "docs",
    "examples",
    "benchmarks",
    "scripts",
    "tests",
)
HERE = {ROOT / "vpp_edge" / "installing.py", Path(__file__)}


def texts() -> list[Path]:
    """Every file in which a command could be printed or read."""
    below = [path for folder in FOLDERS for kind in ("*.py", "*.md", "*.sh") for path in (ROOT / folder).rglob(kind)]
    return [path for path in (*below, *ROOT.glob("*.md"), ROOT / "Makefile") if path not in HERE]


def test_no_other_place_says_how() -> None:
    assert len(texts()) > 300
    said = re.compile(r"vpp-edge\[|pip install [^`\n]*vpp-edge")
    found = {str(path.relative_to(ROOT)): line for path in texts() for line in path.read_text().splitlines()
             if said.search(line)}  # fmt: skip
    assert not found


def test_the_documents_name_the_wheel_of_this_version() -> None:
    wheels = {
        name
        for path in texts()
        if path.suffix == ".md"
        for name in re.findall(r"vpp_edge-[^']*\.whl", path.read_text())
    }
    assert wheels == {f"vpp_edge-{__version__}-py3-none-any.whl"}
