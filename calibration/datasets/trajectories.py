"""VPP's training layout: in, `annotation/<split>/<id>.json` with videos beside; out, recordings.

`vpp-edge run --record` writes the same. Latents are not read: they are pickles, and belong to another video model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vpp_edge.calibration.datasets.recording import Dataset, Recording, VideoPart, file_inside, states_array
from vpp_edge.errors import BadInputError

_MOST_BYTES = 256 << 20


def is_trajectories(path: Path) -> bool:
    """A folder with `annotation/`, a folder of annotations in one, or a single annotation."""
    return path.suffix == ".json" if path.is_file() else _root(path) is not None


def open_trajectories(path: Path) -> Dataset:
    """Every annotation below `path`, in the order of their numbers.

    Raises:
        BadInputError: an annotation is damaged, or what it names is missing.
    """
    root = _root(path)
    if root is None:
        raise BadInputError(f"{path}: lies in no folder with `annotation/` and `videos/`")
    files = [path] if path.is_file() else sorted((root / "annotation").rglob("*.json"), key=_order)
    files = [f for f in files if f == path or path in f.parents]
    if not files:
        raise BadInputError(f"{path}: holds no annotation (*.json)")
    splits = {f.parent for f in files}
    return Dataset(path, tuple(_recording(root, file, qualified=len(splits) > 1) for file in files))


def _root(path: Path) -> Path | None:
    """The folder that has `annotation/`: the path itself or one above it."""
    if (path / "annotation").is_dir():
        return path
    above = [p for p in path.resolve().parents if p.name == "annotation"]
    if path.resolve().name == "annotation" and path.is_dir():
        above = [path.resolve()]
    return above[0].parent if above else None


def _order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), int(path.stem) if path.stem.isdecimal() else 0, path.stem


def _recording(root: Path, path: Path, qualified: bool) -> Recording:
    data = _read(path)
    try:
        texts, videos = data["texts"], data["videos"]
        instruction = str(texts[0])
        views = tuple(VideoPart(file_inside(root, v["video_path"], path)) for v in videos)
        values = data.get("states", data.get("state"))
        length = int(data["video_length"]) if "video_length" in data else len(values or ())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInputError(
            f"{path}: no annotation of a recording ({type(error).__name__}: {error}); expected texts, videos and states"
        ) from error
    if not views or length < 1:
        raise BadInputError(f"{path}: a recording of {length} rows and {len(views)} videos; expected at least one each")
    name = f"{path.parent.name}/{path.stem}" if qualified else path.stem
    states = None if values is None else states_array(values, length, path)
    return Recording(name, instruction, length, views, states)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInputError(f"{path}: larger than {_MOST_BYTES} bytes; refused")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(data, dict):
        raise BadInputError(f"{path}: no annotation of a recording; expected an object with texts, videos and states")
    return data
