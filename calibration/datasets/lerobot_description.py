"""What `meta/info.json` of a LeRobot data set says: its version, its rate and its cameras."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vpp_edge.errors import BadInputError
from vpp_edge.files.json_file import read_json_file

_VERSION = re.compile(r"v?(\d{1,3})(\.\d{1,3}){0,2}")
VIDEO, IMAGES = "video", "image"  # dtypes of cameras


@dataclass(frozen=True)
class Description:
    """What `meta/info.json` says.

    Attributes:
        fps: rows per second.
        cameras: dtype of each camera by its name, in the order of the features; without depth maps.
    """

    fps: float
    cameras: dict[str, str]

    @property
    def videos(self) -> list[str]:
        """The cameras whose pictures are in videos."""
        return [key for key, dtype in self.cameras.items() if dtype == VIDEO]


def read_description(source: Path) -> Description:
    """Reads the file.

    Raises:
        BadInputError: it is damaged, of another version of the format, or describes no camera with videos.
    """
    info = read_json_file(source, "the description of a LeRobot data set")
    if not isinstance(info, dict):
        raise BadInputError(f"{source}: not a description of a LeRobot data set; expected an object")
    _check_version(source, info.get("codebase_version"))
    fps, features = info.get("fps"), info.get("features")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e6:
        raise BadInputError(f"{source}: fps is {fps!r:.40}; expected the rows per second, above 0 and below 1e6")
    if not isinstance(features, dict):
        raise BadInputError(f"{source}: features is {features!r:.40}; expected an object with the cameras")
    cameras = {key: dtype for key, feature in features.items() if (dtype := _camera_dtype(feature)) is not None}
    if VIDEO not in cameras.values():
        images = ", ".join(cameras)
        raise BadInputError(
            f"{source}: 0 video features; expected at least one camera with videos"
            + (f" ({images}: images inside the tables, which are not read; convert them to videos)" if images else "")
        )
    return Description(fps=float(fps), cameras=cameras)


def _check_version(source: Path, version: object) -> None:
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise BadInputError(
            f"{source}: codebase_version is {version!r:.40}; expected a LeRobot data set of format v3.0"
        )
    major = int(match[1])
    if major < 3:
        converters = ["convert_dataset_v21_to_v30"]
        if not str(version).removeprefix("v").startswith("2.1"):
            converters.insert(0, "convert_dataset_v20_to_v21")
        if major < 2:
            converters.insert(0, "convert_dataset_v1_to_v2")
        raise BadInputError(
            f"{source}: LeRobot format {version}; convert it to v3.0 with LeRobot's {', then '.join(converters)}"
        )
    if major > 3:
        raise BadInputError(
            f"{source}: LeRobot format {version} is newer than v3, the newest that this version of vpp-edge reads; "
            "update vpp-edge, or write the data set with a LeRobot that writes v3.0"
        )


def _camera_dtype(feature: object) -> str | None:
    """`video` or `image` of a camera; None for other features and for depth maps, which no policy uses."""
    if not isinstance(feature, dict) or feature.get("dtype") not in (VIDEO, IMAGES):
        return None
    notes = [note for note in (feature.get("video_info"), feature.get("info")) if isinstance(note, dict)]
    if any(note.get("is_depth_map") or note.get("video.is_depth_map") for note in notes):
        return None
    return str(feature["dtype"])
