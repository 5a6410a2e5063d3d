"""Read recordings from LeRobot v3 folders (`meta/`, `data/` and `videos/`).

In the layout of LeRobotDataset v3.0 several episodes share a Parquet file and a video, and `meta/episodes` says where
each one begins. Paths are those of the format, not the templates of `meta/info.json`. The picture of a row is the frame
of its time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpp_edge.calibration.datasets.lerobot_description import IMAGES, Description, read_description
from vpp_edge.calibration.datasets.lerobot_tables import Episode, EpisodeRows, RowTables, read_episodes
from vpp_edge.calibration.datasets.recording import (
    Dataset,
    Recording,
    checked_length,
    file_inside,
    instruction_from,
    states_array,
)
from vpp_edge.calibration.datasets.video_part import FramesByTime, VideoPart
from vpp_edge.errors import BadInputError

_INFO = Path("meta") / "info.json"
_UNREAD = (
    "is stored as images inside the tables, which are not read; convert its images to videos, or choose other cameras "
    "with --views"
)


def is_lerobot(path: Path) -> bool:
    """A folder with `meta/info.json`."""
    return (path / _INFO).is_file()


def open_lerobot(path: Path) -> Dataset:
    """Every episode, by its number. Views are the cameras in the order of `meta/info.json`.

    Raises:
        BadInputError: another version of the format, or a damaged one.
        MissingDependencyError: no pyarrow.
    """
    description, episodes = read_description(path / _INFO), read_episodes(path)
    last = _last_rows(episodes, description)
    rows = RowTables(path)
    return Dataset(
        path, tuple(_recording(path, episode=e, description=description, last=last, rows=rows) for e in episodes)
    )


def _last_rows(episodes: Sequence[Episode], description: Description) -> dict[tuple[str, str], float]:
    """When the last row of the last episode in each video is, in seconds, by camera and place."""
    last: dict[tuple[str, str], float] = {}
    for episode in episodes:
        for key in description.videos:
            video = key, episode.place(f"videos/{key}")
            own = episode.real(f"videos/{key}/from_timestamp") + (episode.integer("length") - 1) / description.fps
            last[video] = max(last.get(video, 0.0), own)
    return last


def _recording(
    root: Path,
    *,
    episode: Episode,
    description: Description,
    last: dict[tuple[str, str], float],
    rows: RowTables,
) -> Recording:
    length = checked_length(episode.integer("length"), episode.source)
    for key in description.videos:
        _check_part(root, episode, key=key, length=length, fps=description.fps)
    own = rows.of(episode)
    times = _times(own, length, description.fps)
    views = []
    for key, dtype in description.cameras.items():
        if dtype == IMAGES:
            views.append(VideoPart(path=root / "data", name=key, unread=_UNREAD))
            continue
        start_s, end_s = (episode.real(f"videos/{key}/{side}_timestamp") for side in ("from", "to"))
        if times[-1] > end_s - start_s - 0.5 / description.fps:
            raise BadInputError(
                f"{own.source}: episode {episode.number} has a row at {times[-1]:.3f} s, its video of {key} ends at "
                f"{end_s - start_s:.3f} s; convert or record the data set again"
            )
        place = episode.place(f"videos/{key}")
        choice = FramesByTime(seconds=start_s + times, fps=description.fps, last_s=last[key, place])
        views.append(VideoPart(path=root / "videos" / key / f"{place}.mp4", name=key, choice=choice))
    return Recording(
        name=str(episode.number),
        instruction=instruction_from(episode.value("tasks"), episode.source),
        length=length,
        views=tuple(views),
        states=None if own.states is None else states_array(own.states, length, own.source),
    )


def _check_part(root: Path, episode: Episode, *, key: str, length: int, fps: float) -> None:
    """Raises BadInputError unless the part of a video is there and long enough for the rows of an episode."""
    video = file_inside(root, f"videos/{key}/{episode.place(f'videos/{key}')}.mp4", root / "meta")
    start = round(episode.real(f"videos/{key}/from_timestamp") * fps)
    frames = round(episode.real(f"videos/{key}/to_timestamp") * fps) - start
    if start < 0:
        raise BadInputError(
            f"{episode.source}: episode {episode.number} begins {-start} frames before its video {video}"
        )
    if frames < length:  # another episode follows in the file
        raise BadInputError(
            f"{episode.source}: episode {episode.number} has {length} rows, its part of {video} {frames} frames"
        )


def _times(rows: EpisodeRows, length: int, fps: float) -> np.ndarray:
    """(length,) seconds from the begin of the episode; those of the rate where the rows have none."""
    if rows.count < length:
        raise BadInputError(f"{rows.source}: {rows.count} rows of an episode of {length}; copy the data set again")
    if rows.times is None:
        return np.arange(length) / fps
    values = rows.times[:length]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise BadInputError(f"{rows.source}: not every row of an episode has a timestamp; copy the data set again")
    times = np.array(values, dtype=np.float64)
    if times[0] < -0.5 / fps or (np.diff(times) <= 0).any():
        raise BadInputError(
            f"{rows.source}: the times of an episode's rows do not increase from 0 on ({times[0]:.3f}, ...); record or "
            "convert the data set again"
        )
    return times
