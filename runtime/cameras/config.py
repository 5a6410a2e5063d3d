"""Which camera the user means: in, a text such as `software:clip.mp4?fps=30`; out, a picklable CameraConfig."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.interfaces import Camera, LatestState
from vpp_edge.runtime.ipc.dtypes import MOST_PIXEL_BYTES

SIM_PREFIX = "sim/"
HIGHEST_FPS = 1000.0
REALSENSE_SIZE, REALSENSE_FPS = (640, 480), 30.0
SIM_SIZE, SIM_FPS = (320, 240), 15.0  # what the simulator draws in time where there is no GPU
# Which options mean something for which kind of camera.
OPTIONS = {
    "realsense": ("width", "height", "fps"),
    "software": ("width", "height", "fps", "loop"),
    "bag": ("fps", "loop"),
    "video": ("width", "height", "fps", "loop"),
}
NAMED = re.compile(r"(\w+)=(.*)", re.DOTALL)
EXAMPLES = {"software": "software:clip.mp4 or software:sim/top", "bag": "bag:take.bag", "video": "video:clip.mp4"}


@dataclass(frozen=True)
class CameraConfig:
    """A camera to open, in plain values, so that it can be sent to the process that opens it.

    Attributes:
        kind: `realsense`, `software`, `bag` or `video`.
        source: serial number (empty: the only camera attached), path of a file, or `sim/VIEW`.
        width, height: pixels asked for, both or none; None: 640 x 480 of a camera, 320 x 240 of the simulator, the
            file's own of a video, which is resized to them otherwise. A bag has its own.
        fps: frames per second asked for; None: 30 of a camera, 15 of the simulator, the file's own of a video.
            Of a bag, which plays as it was recorded, what to expect.
        loop: a file starts again at its end; otherwise reading raises EndOfStreamError there.
        view: which of the policy's views it gives, such as `static`; empty: the one at its place in the list.

    Raises:
        BadInputError: a value that cannot be.
    """

    kind: str
    source: str = ""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    loop: bool = True
    view: str = ""

    def __post_init__(self) -> None:
        name = f"camera {self.name}"
        if self.kind not in OPTIONS:
            raise BadInputError(f"{name}: unknown kind {self.kind!r}; expected {', '.join(OPTIONS)}")
        if not self.source and self.kind != "realsense":
            raise BadInputError(f"{name}: names no source; give for example {EXAMPLES[self.kind]}")
        if (self.width is None) != (self.height is None):
            raise BadInputError(f"{name}: width {self.width}, height {self.height}; give both or none of them")
        if self.width is not None and self.height is not None:
            check_size(name, self.width, self.height)
        if self.fps is not None and not (math.isfinite(self.fps) and 0 < self.fps <= HIGHEST_FPS):
            raise BadInputError(f"{name}: fps {self.fps}; expected above 0 and at most {HIGHEST_FPS:g}")
        if self.kind == "realsense" and self.fps is not None and self.fps != int(self.fps):
            raise BadInputError(f"{name}: fps {self.fps}; RealSense cameras have whole rates such as 6, 15, 30, 60")
        if self.sim_view is not None:
            from vpp_edge.runtime.sim.renderer import VIEWS

            if self.sim_view not in VIEWS:
                raise BadInputError(f"{name}: unknown view {self.sim_view!r}; the simulator has {', '.join(VIEWS)}")

    @property
    def sim_view(self) -> str | None:
        """Name of the simulator's view; None of every other camera."""
        simulated = self.kind == "software" and self.source.startswith(SIM_PREFIX)
        return self.source.removeprefix(SIM_PREFIX) if simulated else None

    @property
    def is_file(self) -> bool:
        """Whether `source` is the path of a file."""
        return self.kind != "realsense" and self.sim_view is None

    @property
    def name(self) -> str:
        """For messages and reports: the text without its options."""
        return f"{self.kind}:{self.source}" if self.source else self.kind

    def completed(self) -> CameraConfig:
        """The configuration with what was left out: size and rate of its kind, or the rate of its video.

        Raises:
            BadInputError: not a video, or one too large for a frame message.
            MissingDependencyError: PyAV is needed to read the video's size and rate.
        """
        if self.kind == "bag":
            return self
        if self.is_file:
            from vpp_edge.video import video_info

            info = video_info(self.source)
            check_size(f"camera {self.name}", self.width or info.width, self.height or info.height)
            return dataclasses.replace(self, fps=self.fps or info.fps)
        size, fps = (REALSENSE_SIZE, REALSENSE_FPS) if self.kind == "realsense" else (SIM_SIZE, SIM_FPS)
        width, height = (self.width or size[0], self.height or size[1])
        return dataclasses.replace(self, width=width, height=height, fps=self.fps or fps)

    def open(self, latest_state: LatestState | None = None) -> Camera:
        """Opens the camera; see `opening.open_camera`."""
        from vpp_edge.runtime.cameras.opening import open_camera

        return open_camera(self, latest_state)

    @property
    def text(self) -> str:
        """What `camera_from_text` reads back as this configuration."""
        given = {"width": self.width, "height": self.height, "fps": self.fps, "loop": None if self.loop else 0}
        options = "&".join(f"{key}={value}" for key, value in given.items() if value is not None)
        text = f"{self.name}?{options}" if options or "?" in self.source else self.name
        return f"{self.view}={text}" if self.view else text


def check_size(name: str, width: int, height: int) -> None:
    """Raises BadInputError for an image of no pixels or of more than a frame message can carry."""
    if width < 1 or height < 1 or width * height * 3 > MOST_PIXEL_BYTES:
        most = MOST_PIXEL_BYTES // 3
        raise BadInputError(f"{name}: {width} x {height} pixels; expected at least 1 x 1 and at most {most} in all")


def camera_from_text(text: str) -> CameraConfig:
    """Reads a camera as typed: `KIND:SOURCE?OPTION=VALUE&...`, for example `software:clip.mp4?width=640&height=480`.

    In front may stand which view of the policy it gives: `wrist=realsense:123622270915`. The options are those of
    OPTIONS; the source ends at the last `?`. Files are looked at, and what was not given is filled in as `completed`
    says.

    Raises:
        BadInputError: unknown kind, view or option, a value that cannot be, a file that is missing or no video.
        MissingDependencyError: PyAV is not there to look at a video.
    """
    config = parsed(text)
    if config.is_file and not Path(config.source).is_file():
        raise BadInputError(
            f"camera {text}: there is no file {config.source!r}; check the path"
            + ("; write one more `?` behind a file name that contains one" if "?" in text else "")
        )
    return config.completed()


def parsed(text: str) -> CameraConfig:
    """The same without a look at the file."""
    named = NAMED.match(text)
    view, text = named.groups() if named else ("", text)
    head, mark, tail = text.rpartition("?")
    head, tail = (head, tail) if mark else (text, "")
    kind, _, source = head.partition(":")
    if kind not in OPTIONS:
        raise BadInputError(f"camera {text!r}: unknown kind {kind!r}; expected {', '.join(OPTIONS)}, then `:SOURCE`")
    options: dict[str, Any] = {}
    for pair in filter(None, tail.split("&")):
        key, _, value = pair.partition("=")
        if key not in OPTIONS[kind]:
            raise BadInputError(f"camera {text!r}: unknown option {key!r}; {kind} has {', '.join(OPTIONS[kind])}")
        if key in options:
            raise BadInputError(f"camera {text!r}: option {key!r} is given twice; give it once")
        try:
            options[key] = _READERS[key](value)
        except (ValueError, KeyError):
            raise BadInputError(f"camera {text!r}: {key}={value!r}; expected {_EXPECTED[key]}") from None
    return CameraConfig(kind, source, **options, view=view)


_READERS: dict[str, Callable[[str], Any]] = {
    "width": int,
    "height": int,
    "fps": float,
    "loop": {"0": False, "1": True}.__getitem__,
}
_EXPECTED = {"width": "whole pixels", "height": "whole pixels", "fps": "a number", "loop": "0 or 1"}
