"""Read recordings in VPP's training layout: `annotation/<split>/<id>.json` and the videos that they name.

`vpp-edge run --record` writes this layout too. Latents are not read: they are pickles, and of another video model.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vpp_edge.calibration.datasets.recording import (
    Dataset,
    Recording,
    checked_length,
    file_inside,
    instruction_from,
    states_array,
)
from vpp_edge.calibration.datasets.video_part import FramesByNumber, VideoPart
from vpp_edge.errors import BadInputError
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.paths import data_files


def is_trajectories(path: Path) -> bool:
    """Whether a path is a folder with `annotation/`, a folder inside it, or a single annotation."""
    return path.suffix == ".json" if path.is_file() else _root(path) is not None


def open_trajectories(path: Path) -> Dataset:
    """Every annotation below `path`, in the order of their numbers.

    Raises:
        BadInputError: an annotation is damaged, or a file that it names is missing.
    """
    place = Path(os.path.abspath(path))  # `.` and `val` work inside the data set too
    root = _root(place)
    if root is None:
        raise BadInputError(f"{path}: not inside a folder with `annotation/` and `videos/`")
    folder = root / "annotation" if place == root else place
    files = [place] if place.is_file() else sorted(data_files(folder, "**/*.json"), key=_order)
    if not files:
        raise BadInputError(f"{path}: holds no annotation (*.json)")
    splits = {f.parent for f in files}
    return Dataset(path, tuple(_recording(root, file, qualified=len(splits) > 1) for file in files))


def _root(path: Path) -> Path | None:
    """The absolute folder that has `annotation/`: the path itself or one of its parents."""
    place = Path(os.path.abspath(path))
    if (place / "annotation").is_dir():
        return place
    above = [p for p in (place, *place.parents) if p.name == "annotation" and p.is_dir()]
    return above[0].parent if above else None


def _order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), int(path.stem) if path.stem.isdecimal() else 0, path.stem


def _recording(root: Path, path: Path, qualified: bool) -> Recording:
    data = _read(path)
    try:
        texts, videos = data["texts"], data["videos"]
        instruction = instruction_from(texts, path)
        names = data.get("views", range(len(videos)))  # our own recordings name them
        values = data.get("states", data.get("state"))
        length = checked_length(int(data["video_length"] if "video_length" in data else len(values or ())), path)
        choice = FramesByNumber(frozenset((length, length if values is None else len(values))))
        views = tuple(
            VideoPart(path=file_inside(root, video["video_path"], path), name=str(name), choice=choice)
            for video, name in zip(videos, names, strict=True)
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInputError(
            f"{path}: not an annotation of a recording ({type(error).__name__}: {error}); expected texts, videos and "
            "states"
        ) from error
    if not views:
        raise BadInputError(f"{path}: a recording without videos; expected at least one")
    name = path.relative_to(root / "annotation").with_suffix("").as_posix() if qualified else path.stem
    states = None if values is None else states_array(values, length, path)
    return Recording(name=name, instruction=instruction, length=length, views=views, states=states)


def _read(path: Path) -> dict[str, Any]:
    data = read_json_file(path, "an annotation of a recording")
    if not isinstance(data, dict):
        raise BadInputError(
            f"{path}: not an annotation of a recording; expected an object with texts, videos and states"
        )
    return data
