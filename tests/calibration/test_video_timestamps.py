"""The picture of a row is the frame of its time, whatever the rate of the video; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made_datasets import FPS, VIEWS, number_in, painted, write_lerobot, write_trajectories
from made_videos import write_at

from vpp_edge.calibration.datasets import Recording, open_dataset
from vpp_edge.errors import BadInputError
from vpp_edge.video import load_av, timeline

pytest.importorskip("av")
ROWS = 8


def lerobot(
    root: Path, numbers: Sequence[int], seconds: Sequence[float], lengths: Sequence[int] = (ROWS,)
) -> list[Recording]:
    """A data set whose first camera shows `numbers` at `seconds`; by row, its picture would be the row's number."""
    write_lerobot(root, lengths)
    write_at(root / "videos" / VIEWS[0] / "chunk-000" / "file-000.mp4", (painted(0, n) for n in numbers), seconds)
    return list(open_dataset(root).recordings)


def shown(recording: Recording, rows: Sequence[int]) -> list[int]:
    return [number_in(view)[1] for (view,) in recording.images(rows, 1)]


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_faster_video_is_read_at_the_times_of_the_rows(tmp_path: Path, factor: int) -> None:
    count = factor * ROWS
    (recording,) = lerobot(tmp_path, range(count), np.arange(count) / (factor * FPS))
    assert shown(recording, range(ROWS)) == [factor * row for row in range(ROWS)]


@pytest.mark.parametrize("fps", [9.97, 10.03, 10.3])
def test_a_rate_that_differs_little_is_followed(tmp_path: Path, fps: float) -> None:
    (recording,) = lerobot(tmp_path, range(ROWS + 1), np.arange(ROWS + 1) / fps)
    assert shown(recording, range(ROWS)) == [*range(ROWS)]


def test_rows_of_a_variable_rate_are_their_nearest_frames(tmp_path: Path) -> None:
    """Frames come early and late, and some between the rows."""
    seconds = [0.0, 0.13, 0.17, 0.24, 0.29, 0.4, 0.46, 0.52, 0.58, 0.66, 0.71]
    (recording,) = lerobot(tmp_path, range(len(seconds)), seconds)
    nearest = [0, 1, 2, 4, 5, 7, 8, 10]
    assert shown(recording, range(ROWS)) == nearest


def test_a_dropped_frame_moves_no_other_row_and_its_own_is_refused(tmp_path: Path) -> None:
    kept = [n for n in range(ROWS) if n != 3]
    (recording,) = lerobot(tmp_path, kept, [n / FPS for n in kept])
    assert shown(recording, kept) == kept
    with pytest.raises(BadInputError, match=r"file-000\.mp4 has no frame for row 3 of recording 0, at 0\.300 s"):
        recording.images([3], 1)
    with pytest.raises(BadInputError, match="leave the recording out"):
        recording.images([2, 3], 1)


def test_a_dropped_frame_that_left_no_gap_is_refused_in_every_recording_of_the_file(tmp_path: Path) -> None:
    kept = [n for n in range(ROWS) if n != 3]
    first, second = lerobot(tmp_path, kept, np.arange(ROWS - 1) / FPS, (5, 3))
    with pytest.raises(BadInputError, match=r"file-000\.mp4 ends before the last of the recordings in it"):
        first.images([0], 1)
    with pytest.raises(BadInputError, match=r"file-000\.mp4 ends before row 2 of recording 1"):
        second.images([0], 1)


@pytest.mark.parametrize("fps", [1, 5, 7, 12.5, 20, 30])
def test_a_frame_for_every_row_at_another_rate_is_refused(tmp_path: Path, fps: float) -> None:
    (recording,) = lerobot(tmp_path, range(ROWS), np.arange(ROWS) / fps)
    for row in (1, ROWS - 1):
        with pytest.raises(BadInputError, match=r"file-000\.mp4 (has .* frames per second|ends before row)"):
            recording.images([row], 1)


def test_a_video_that_begins_late_has_no_picture_for_the_first_row(tmp_path: Path) -> None:
    write_lerobot(tmp_path, (ROWS,))
    video = tmp_path / "videos" / VIEWS[0] / "chunk-000" / "file-000.mp4"
    write_at(video, (painted(0, n) for n in range(1, ROWS)), np.arange(1, ROWS) / FPS)
    (recording,) = open_dataset(tmp_path).recordings
    assert shown(recording, [1, 7]) == [1, 7]
    with pytest.raises(BadInputError, match="has no frame for row 0"):
        recording.images([0], 1)


def test_the_times_of_the_rows_count_rather_than_their_number(tmp_path: Path) -> None:
    """A data set from which rows were removed, but no frames."""
    write_lerobot(
        tmp_path,
        (ROWS,),
        edit_episodes=lambda columns: columns.update(length=[5]),
        edit_data=lambda columns: columns.update({k: [v[i] for i in (0, 2, 3, 5, 7)] for k, v in columns.items()}),
    )
    (recording,) = open_dataset(tmp_path).recordings
    assert shown(recording, range(5)) == [0, 2, 3, 5, 7]
    assert recording.states is not None and recording.states[:, 0].tolist() == [0, 2, 3, 5, 7]


@pytest.mark.parametrize("fps", [7, 13, 20, 30])
def test_a_wrong_rate_in_the_description_moves_no_picture(tmp_path: Path, fps: int) -> None:
    write_lerobot(tmp_path, (3, 4), edit_info=lambda info: info.update(fps=fps))
    try:
        recordings = open_dataset(tmp_path).recordings
    except BadInputError as error:
        assert fps < FPS and "has 3 rows, its part of" in str(error)
        return
    assert [shown(recordings[0], range(3)), shown(recordings[1], range(4))] == [[0, 1, 2], [3, 4, 5, 6]]


def test_rows_without_times_follow_the_rate(tmp_path: Path) -> None:
    write_lerobot(tmp_path, (3, 4), edit_data=lambda columns: columns.pop("timestamp"))
    assert shown(open_dataset(tmp_path).recordings[1], range(4)) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([0.0, 0.1, 0.1], "do not increase"),
        ([0.2, 0.1, 0.0], "do not increase"),
        ([-1.0, 0.1, 0.2], "do not increase from 0"),
        ([0.0, 0.1, None], "timestamp"),
        ([0.0, 0.1, float("nan")], "timestamp"),
        ([0.0, 0.1, float("inf")], "timestamp"),
        (["0", "1", "2"], "timestamp"),
        ([1.7e9, 1.7e9 + 0.1, 1.7e9 + 0.2], "its video of .* ends at 0.300 s"),
        ([0.0, 0.1, 0.5], "its video of .* ends at 0.300 s"),  # it would be a frame of the next episode
    ],
)
def test_times_that_are_none_or_of_another_episode_are_refused(tmp_path: Path, times: list[object], said: str) -> None:
    later = [None, None, None] if isinstance(times[0], str) else [0.0, 0.1, 0.2]
    write_lerobot(tmp_path, (3, 3), edit_data=lambda columns: columns.update(timestamp=times + later))
    with pytest.raises(BadInputError, match=rf"data.*parquet: .*{said}"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(("frames", "said"), [(4, "ends before row 4"), (6, "has 6 frames"), (15, "has 15 frames")])
def test_a_layout_without_times_needs_one_frame_for_each_row(tmp_path: Path, frames: int, said: str) -> None:
    write_trajectories(tmp_path, (5,))
    write_at(tmp_path / "videos/val/0/0.mp4", (painted(0, n) for n in range(frames)), np.arange(frames) / FPS)
    (recording,) = open_dataset(tmp_path).recordings
    with pytest.raises(BadInputError, match=rf"videos/val/0/0\.mp4 {said}.* recording 0"):
        recording.images([0], 1)


def test_a_layout_without_times_takes_frames_in_order_at_any_pace(tmp_path: Path) -> None:
    write_trajectories(tmp_path, (5,))
    write_at(tmp_path / "videos/val/0/0.mp4", (painted(0, n) for n in range(5)), [0, 0.1, 0.5, 0.52, 3])
    (recording,) = open_dataset(tmp_path).recordings
    assert shown(recording, range(5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov", "a.ts", "a.flv"])
def test_frames_out_of_order_in_the_file_are_in_order(tmp_path: Path, name: str) -> None:
    """With B-frames, packets are in another order than pictures; an AVI stamps them wrongly."""
    if "libx264" not in load_av().codecs_available:
        pytest.skip("this PyAV writes no H.264")
    write_trajectories(tmp_path, (9,))
    images = (painted(0, n) for n in range(9))
    video = write_at(tmp_path / name, images, [n / 10 for n in range(9)], codec="libx264")
    assert len(timeline(video).seconds) == 9
    video.replace(tmp_path / "videos/val/0/0.mp4")
    (recording,) = open_dataset(tmp_path).recordings
    assert [number_in(view)[1] for (view,) in recording.images(range(9), 1)] == [*range(9)]
