"""What machines are compared by: versions and files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.executor.alike import END_BYTES, WHOLE_BYTES, content_of, contents, differences, versions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A large file and a small one in a folder of their own."""
    folder = tmp_path / "checkpoint"
    (folder / "unet").mkdir(parents=True)
    (folder / "policy.pt").write_bytes(bytes(WHOLE_BYTES + END_BYTES))
    (folder / "unet" / "config.json").write_text("{}")
    return folder


def write_at(offset: int, file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(offset)
        content.write(b"x")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a small file": lambda folder: (folder / "unet" / "config.json").write_text("[]"),
    "a name": lambda folder: (folder / "unet").rename(folder / "vae"),
    "one file more": lambda folder: (folder / "notes").touch(),
    "the first weight": lambda folder: write_at(0, folder / "policy.pt"),
    "the last weight": lambda folder: write_at(WHOLE_BYTES + END_BYTES - 1, folder / "policy.pt"),
    "a size": lambda folder: (folder / "policy.pt").write_bytes(bytes(WHOLE_BYTES + END_BYTES + 1)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_copy_is_alike_until_something_changes(folder: Path, tmp_path: Path, change: Callable) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert content_of(copy) == content_of(folder)
    change(copy)
    assert content_of(copy) != content_of(folder)


def test_a_node_is_told_what_it_lacks(folder: Path) -> None:
    assert differences("node a", versions(), contents([folder])) is None
    older = versions() | {"numpy": "1.0"}
    assert "node a has numpy" in str(differences("node a", older, {})) and "1.0" in str(differences("a", older, {}))
    wanted = contents([folder])
    write_at(0, folder / "policy.pt")
    assert "node a has something else at" in str(differences("node a", versions(), wanted))
    shutil.rmtree(folder)
    assert f"node a cannot read {folder} (No such file" in str(differences("node a", versions(), wanted))


def test_what_is_missing_here_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nothing: No such file"):
        contents([tmp_path / "nothing"])
