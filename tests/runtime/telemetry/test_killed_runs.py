"""What a killed run leaves of its recording and its log: completed, kept or removed by the next run, never lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vpp_edge.runtime.telemetry.episode_folder import EpisodeFolder, finish_episodes
from vpp_edge.runtime.telemetry.mcap_log import check_log
from vpp_edge.runtime.telemetry.recorder import check_recording

pytest.importorskip("av")
pytest.importorskip("mcap")
HANGS_S = 60
EPISODE = """
from vpp_edge.runtime.telemetry.episode_folder import EpisodeFolder
folder = EpisodeFolder(path, "val")
for name in ("0.mp4", "1.mp4", "timings.npz", "ticks.bin"):
    (folder.path / name).write_text(name)
"""
ANNOTATED = EPISODE + """(folder.path / "annotation.json").write_text('{"texts": ["x"]}')\n"""
HALF_MOVED = (
    ANNOTATED
    + """
import os
place = path / "videos" / "val" / str(folder.number)
place.mkdir(parents=True)
os.replace(folder.path / "0.mp4", place / "0.mp4")
"""
)
LOG = """
from vpp_edge.runtime.telemetry.mcap_log import McapLog
log = McapLog(str(path), {"hand": "sim"})
log._file.flush()
"""


def killed(code: str, path: Path) -> None:
    """Runs code in a process that is then killed, as the kernel does without memory."""
    end = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    script = f"import sys, pathlib; path = pathlib.Path(sys.argv[1])\n{code}\n{end}"
    answer = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=HANGS_S)
    assert answer.returncode == -9, answer.stderr


@pytest.mark.parametrize("code", [ANNOTATED, HALF_MOVED], ids=["complete", "half moved"])
def test_a_complete_episode_gets_to_its_place(tmp_path: Path, code: str) -> None:
    killed(code, tmp_path)
    assert not (tmp_path / "annotation").exists()
    (note,) = check_recording(str(tmp_path))
    annotation = tmp_path / "annotation" / "val" / "0.json"
    assert str(annotation) in note and json.loads(annotation.read_text()) == {"texts": ["x"]}
    assert sorted(p.name for p in (tmp_path / "videos" / "val" / "0").iterdir()) == ["0.mp4", "1.mp4"]
    assert (tmp_path / "timings" / "val" / "0.npz").is_file()
    assert not list(tmp_path.glob(".partial*")) and check_recording(str(tmp_path)) == ()


def test_a_beginning_that_nobody_can_play_is_removed(tmp_path: Path) -> None:
    killed(EPISODE, tmp_path)
    assert list(tmp_path.glob(".partial*"))
    assert check_recording(str(tmp_path)) == ()
    assert list(tmp_path.iterdir()) == []


def test_the_episode_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    mine = EpisodeFolder(tmp_path, "val")
    (mine.path / "annotation.json").write_text("{}")
    assert finish_episodes(tmp_path) == () and mine.path.is_dir()
    other = EpisodeFolder(tmp_path, "val")
    assert (mine.number, other.number) == (0, 1)
    for folder in (mine, other):
        folder.close()
        folder.close()
    assert list(tmp_path.iterdir()) == []


def test_the_log_of_a_killed_run_is_kept_under_a_visible_name(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    for number in (1, 2):
        killed(LOG, path)
        (note,) = check_log(str(path))
        kept = tmp_path / f"run.killed-{number}.mcap"
        assert str(kept) in note and kept.read_bytes().startswith(b"\x89MCAP")
    assert check_log(str(path)) == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.killed-1.mcap", "run.killed-2.mcap"]
