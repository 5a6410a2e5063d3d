"""The video of a run shows every snapshot from its own time on, also where they came unevenly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from made_datasets import number_in, painted

from vpp_edge.demo.run_video import RunVideo
from vpp_edge.errors import BadInputError
from vpp_edge.video import read_frames, video_info

pytest.importorskip("av")


def run_video(seconds: list[float]) -> RunVideo:
    video = RunVideo()
    for number, moment in enumerate(seconds):
        video.add(SimpleNamespace(images=[painted(0, number)], seconds=moment))
    return video


def test_a_pause_of_the_snapshots_is_a_pause_of_the_video(tmp_path: Path) -> None:
    video = run_video([10.0, 10.1, 10.2, 10.3, 11.0, 11.11, 11.2, 11.29, 11.4])
    path = video.write(tmp_path / "a.mp4")
    fps = video_info(path).fps
    shown = [number_in(image[:64, :64])[1] for image in read_frames(path)]
    assert shown[0] == 0 and shown[-1] == 8
    assert shown.count(3) / fps == pytest.approx(0.7, abs=1.1 / fps)


def test_even_snapshots_are_one_frame_each(tmp_path: Path) -> None:
    seconds = [0.0, 0.101, 0.199, 0.302, 0.4, 0.5]
    path = run_video(seconds).write(tmp_path / "a.mp4")
    assert [number_in(image[:64, :64])[1] for image in read_frames(path)] == [0, 1, 2, 3, 4, 5]
    animation = run_video(seconds).write_animation(tmp_path / "a.webp")
    assert animation.read_bytes().count(b"ANMF") == 6


def test_one_snapshot_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no frames for a video"):
        run_video([0.0]).write(tmp_path / "a.mp4")
