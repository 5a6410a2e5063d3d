"""Read recordings from LeRobot v3 folders (`meta/`, `data/` and `videos/`).

In the layout of LeRobotDataset v3.0 several episodes share a Parquet file and a video, and `meta/episodes` says where
each one begins. Paths are those of the format, not the templates of `meta/info.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpp_edge.calibration.datasets.recording import (
    Dataset,
    Recording,
    VideoPart,
    checked_length,
    file_inside,
    instruction_from,
    states_array,
)
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.installing import pip_install

_INFO = Path("meta") / "info.json"
_STATE = "observation.state"


def is_lerobot(path: Path) -> bool:
    """A folder with `meta/info.json`."""
    return (path / _INFO).is_file()


def open_lerobot(path: Path) -> Dataset:
    """Every episode, by its number. Views are the video features in the order of `meta/info.json`.

    Raises:
        BadInputError: another version of the format, or a damaged one.
        MissingDependencyError: no pyarrow.
    """
    source = path / _INFO
    try:
        info = json.loads(source.read_text(encoding="utf-8"))
        version, fps = str(info["codebase_version"]), float(info["fps"])
        keys = [
            str(k) for k, feature in info["features"].items() if feature["dtype"] == "video" and not _depth(feature)
        ]
    except (OSError, ValueError, OverflowError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{source}: not a description of a LeRobot data set ({error!r})") from error
    if not version.startswith("v3"):
        raise BadInputError(
            f"{source}: LeRobot format {version}; convert it to v3.0 with LeRobot's convert_dataset_v21_to_v30"
        )
    if not keys or not 0 < fps < 1e6:
        raise BadInputError(
            f"{source}: {len(keys)} video features at {fps:g} frames per second; expected at least one "
            "(images inside the tables are not read; record with videos)"
        )
    episodes = [row for file in _tables(path / "meta" / "episodes") for row in _rows(file)]
    if not episodes:
        raise BadInputError(f"{path / 'meta' / 'episodes'}: holds no episode")
    states = _States(path)
    try:
        episodes.sort(key=lambda e: int(e["episode_index"]))  # the files may be in another order
        recordings = [_recording(path, episode=e, keys=keys, fps=fps, states=states) for e in episodes]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise BadInputError(
            f"{path / 'meta' / 'episodes'}: a missing or invalid field of an episode: {error!r}"
        ) from error
    names = [r.name for r in recordings]
    if len(set(names)) < len(names):
        raise BadInputError(f"{path / 'meta' / 'episodes'}: lists an episode twice; copy the data set again")
    return Dataset(path, tuple(recordings))


def _depth(feature: Mapping[str, Any]) -> bool:
    """Whether a video feature is a depth map, which no policy uses."""
    notes = {**(feature.get("video_info") or {}), **(feature.get("info") or {})}
    return bool(notes.get("is_depth_map") or notes.get("video.is_depth_map"))


def _recording(root: Path, episode: Mapping[str, Any], keys: list[str], fps: float, states: _States) -> Recording:
    source = root / "meta" / "episodes"
    number, length = int(episode["episode_index"]), checked_length(int(episode["length"]), source)
    views = []
    for key in keys:
        place = _place(episode, f"videos/{key}")
        video = file_inside(root, f"videos/{key}/{place}.mp4", root / "meta")
        start = round(float(episode[f"videos/{key}/from_timestamp"]) * fps)
        if start < 0:
            raise BadInputError(f"{source}: episode {number} begins {-start} frames before its video {video}")
        frames = round(float(episode[f"videos/{key}/to_timestamp"]) * fps) - start
        if frames < length:  # another episode follows in the file
            raise BadInputError(f"{source}: episode {number} has {length} rows, its part of {video} {frames} frames")
        views.append(VideoPart(path=video, name=key, start=start, frames=frames))
    rows = states.of(_place(episode, "data"), number)
    values = None if rows is None else states_array(rows, length, root / "data")
    return Recording(
        name=str(number),
        instruction=instruction_from(episode["tasks"], source),
        length=length,
        views=tuple(views),
        states=values,
    )


def _place(episode: Mapping[str, Any], kind: str) -> str:
    return f"chunk-{int(episode[f'{kind}/chunk_index']):03d}/file-{int(episode[f'{kind}/file_index']):03d}"


class _States:
    """States by episode; a Parquet file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, dict[int, list[Any]]] = {}

    def of(self, place: str, episode: int) -> list[Any] | None:
        """Rows of one episode, in order; None for a data set without states."""
        if place not in self._files:
            found: dict[int, list[Any]] = {}
            file = file_inside(self._root, f"data/{place}.parquet", self._root / "meta")
            for row in _rows(file, ("episode_index", _STATE)):
                found.setdefault(int(row["episode_index"]), []).append(row.get(_STATE))
            self._files[place] = found
        rows = self._files[place].get(episode)
        if rows is None:
            raise BadInputError(f"{self._root / 'data' / place}.parquet: holds no row of episode {episode}")
        if all(row is None for row in rows):
            return None
        return [row if isinstance(row, list) else [row] for row in rows]  # a single number is not stored as a list


def _tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("chunk-*/file-*.parquet"))


def _rows(path: Path, columns: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "reading LeRobot data sets", pip_install("lerobot")) from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = [n for n in file.schema_arrow.names if not n.startswith("stats/")]  # statistics of every episode, large
        present = [n for n in names if columns is None or n in columns]
        return list(file.read(columns=present).to_pylist())
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BadInputError(f"{path}: not readable as Parquet ({error})") from error
