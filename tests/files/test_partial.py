"""Outputs under construction: complete or absent, and what a killed writer leaves is told from a living one's work."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vpp_edge.files.partial import PartialFile, partial_folder, partials, remove_dead, replace_folder
from vpp_edge.files.writing import write_whole

FILE = "from vpp_edge.files.partial import PartialFile; p = PartialFile(target); p.path.write_text('half')"
FOLDER = (
    "from vpp_edge.files import partial as p; f = p.partial_folder(target); (f.__enter__() / 'half').write_text('')"
)
REPLACING = (
    "from vpp_edge.files import partial as p; f = p.partial_folder(target); target.rename(f.__enter__() / 'replaced')"
)
HANGS_S = 60


@pytest.fixture
def writer() -> Iterator[Callable[[str, Path], subprocess.Popen]]:
    """Starts a process that has begun to write a target and waits."""
    started = []

    def start(code: str, target: Path) -> subprocess.Popen:
        lines = f"import sys, time, pathlib; target = pathlib.Path(sys.argv[1]); {code}; print('begun', flush=True)"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{lines}; time.sleep({HANGS_S})", str(target)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def killed(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(HANGS_S)


@pytest.mark.parametrize("code", [FILE, FOLDER], ids=["file", "folder"])
def test_the_work_of_a_living_writer_stays_and_that_of_a_killed_one_goes(writer, tmp_path: Path, code: str) -> None:
    target = tmp_path / "output"
    process = writer(code, target)
    remove_dead(target)
    write_whole(target, "whole")
    assert len(partials(target)) == 1
    killed(process)
    assert len(partials(target)) == 1
    write_whole(target, "again")
    assert partials(target) == [] and target.read_text() == "again"


def test_what_a_killed_writer_had_moved_away_comes_back(writer, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "manifest.json").write_text("old")
    process = writer(REPLACING, target)
    remove_dead(target)
    assert not target.exists()
    killed(process)
    remove_dead(target)
    assert (target / "manifest.json").read_text() == "old" and partials(target) == []


def test_what_came_after_the_killed_writer_is_not_replaced_by_older_work(writer, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    killed(writer(REPLACING, target))
    target.mkdir()
    (target / "new").touch()
    remove_dead(target)
    assert (target / "new").exists() and partials(target) == []


def test_targets_beside_each_other_are_not_mixed_up(writer, tmp_path: Path) -> None:
    killed(writer(FILE, tmp_path / "run.mcap"))
    write_whole(tmp_path / "run.mcap2", "")
    write_whole(tmp_path / "run", "")
    assert len(partials(tmp_path / "run.mcap")) == 1


def test_an_error_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    target = tmp_path / "output"
    target.write_text("old")
    for begin in (PartialFile, partial_folder):
        with pytest.raises(KeyboardInterrupt), begin(target):
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["output"] and target.read_text() == "old"


def test_a_folder_replaces_another_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for content in ("one", "two"):
        with partial_folder(target) as folder:
            (folder / content).touch()
            replace_folder(folder, target)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert [path.name for path in target.iterdir()] == ["two"]


def test_a_link_keeps_pointing_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real").write_text("old")
    (tmp_path / "link").symlink_to("disk/real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "real").read_text() == "new"


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / (251 * "x" + ".txt")
    write_whole(target, "content")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
