"""Parses the text of --camera, such as `software:clip.mp4?fps=30`, into a picklable CameraConfig."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.files.paths import path_from_text
from vpp_edge.number_range import above, whole
from vpp_edge.runtime.interfaces import Camera, LatestState
from vpp_edge.runtime.ipc.dtypes import MOST_PIXEL_BYTES
from vpp_edge.runtime.sim.view_names import LIVE_SIZE, VIEWS
from vpp_edge.suggestion import check_text, did_you_mean

SIM_PREFIX = "sim/"
PIXELS = whole(1, MOST_PIXEL_BYTES // 3)  # along one side
FPS = above(0, 1000)
REALSENSE_SIZE, REALSENSE_FPS = (640, 480), 30.0
SIM_FPS = 15.0  # what the simulator renders in time without a GPU
# The options of each kind of camera.
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
    """A camera to open, as plain values that can be sent to the process that opens it.

    Attributes:
        kind: `realsense`, `software`, `bag` or `video`.
        source: serial number (empty: the only camera attached), path of a file, or `sim/VIEW`.
        width, height: requested pixels, both or neither. None: 640 x 480 for a camera, 320 x 240 for the simulator, a
            video's own size. Videos are resized to it. Not for bags, which keep their own size.
        fps: requested frames per second. None: 30 for a camera, 15 for the simulator, a video's own rate. A video is
            played at its own times, faster or slower to reach a requested rate. A bag plays at its recorded rate; for
            bags this is the rate to expect.
        loop: a file starts again at its end; otherwise reading past the end raises EndOfStreamError.
        view: the policy's view that it delivers, such as `static`; empty: the one at its position in the list.

    Raises:
        BadInputError: a value is invalid.
    """

    kind: str
    source: str = ""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    loop: bool = True
    view: str = ""

    def __post_init__(self) -> None:
        for name in ("kind", "source", "view"):
            check_text(f"camera: {name}", getattr(self, name))
        name = f"camera {self.name}"
        if self.kind not in OPTIONS:
            raise BadInputError(
                f"{name}: unknown kind {self.kind!r}{did_you_mean(self.kind, OPTIONS)}; expected {', '.join(OPTIONS)}"
            )
        if not self.source and self.kind != "realsense":
            raise BadInputError(f"{name}: has no source; expected for example {EXAMPLES[self.kind]}")
        if (self.width is None) != (self.height is None):
            raise BadInputError(f"{name}: width {self.width}, height {self.height}; give both or neither")
        if self.width is not None and self.height is not None:
            PIXELS.check(f"{name}: width", self.width)
            PIXELS.check(f"{name}: height", self.height)
            self._check_size(self.width, self.height)
        if self.fps is not None:
            FPS.check(f"{name}: fps", self.fps)
        if self.kind == "realsense" and self.fps is not None and self.fps != int(self.fps):
            raise BadInputError(f"{name}: fps {self.fps}; RealSense cameras have whole rates such as 6, 15, 30, 60")
        if self.sim_view is not None and self.sim_view not in VIEWS:
            view = f"{self.sim_view!r}{did_you_mean(self.sim_view, VIEWS)}"
            raise BadInputError(f"{name}: unknown view {view}; the simulator has {', '.join(VIEWS)}")

    @property
    def sim_view(self) -> str | None:
        """Name of the simulator's view; None for every other camera."""
        simulated = self.kind == "software" and self.source.startswith(SIM_PREFIX)
        return self.source.removeprefix(SIM_PREFIX) if simulated else None

    @property
    def is_file(self) -> bool:
        """Whether `source` is the path of a file."""
        return self.kind != "realsense" and self.sim_view is None

    @property
    def name(self) -> str:
        """The text without its options, for messages and reports."""
        return f"{self.kind}:{self.source}" if self.source else self.kind

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(width, height) of its images; None for a bag, which says it only when it is opened."""
        return None if self.width is None or self.height is None else (self.width, self.height)

    def completed(self) -> CameraConfig:
        """The configuration with defaults filled in: size and rate of its kind, or those of its video.

        Raises:
            BadInputError: not a video, or one too large for a frame message.
            MissingDependencyError: PyAV is needed to read the video's size and rate.
        """
        if self.kind == "bag":
            return self
        if self.is_file:
            from vpp_edge.video import video_info

            info = video_info(self.source)
            width, height = self.width or info.width, self.height or info.height
            self._check_size(width, height)
            return dataclasses.replace(self, width=width, height=height, fps=self.fps or info.fps)
        size, fps = (REALSENSE_SIZE, REALSENSE_FPS) if self.kind == "realsense" else (LIVE_SIZE, SIM_FPS)
        width, height = (self.width or size[0], self.height or size[1])
        return dataclasses.replace(self, width=width, height=height, fps=self.fps or fps)

    def _check_size(self, width: int, height: int) -> None:
        """Raises BadInputError for an image without pixels, or with more than a frame message can carry."""
        most = MOST_PIXEL_BYTES // 3
        if width >= 1 and height >= 1 and width * height <= most:
            return
        scale, hint = math.sqrt(most / max(1, width * height)), ""
        less = [int(side * scale) // 2 * 2 for side in (width, height)]  # of the same proportions
        if min(less) >= 1 and "width" in OPTIONS[self.kind]:
            hint = f"; have its frames resized, for example with {self.name}?width={less[0]}&height={less[1]}"
        raise BadInputError(
            f"camera {self.name}: {width} x {height} pixels; expected at least 1 x 1 and at most {most} in all{hint}"
        )

    def open(self, latest_state: LatestState | None = None) -> Camera:
        """Opens the camera; see `opening.open_camera`."""
        from vpp_edge.runtime.cameras.opening import open_camera

        return open_camera(self, latest_state)

    @property
    def text(self) -> str:
        """The text that `camera_from_text` parses into this configuration."""
        given = {"width": self.width, "height": self.height, "fps": self.fps, "loop": None if self.loop else 0}
        options = "&".join(f"{key}={value}" for key, value in given.items() if value is not None)
        text = f"{self.name}?{options}" if options or "?" in self.source else self.name
        return f"{self.view}={text}" if self.view else text


def camera_from_text(text: str) -> CameraConfig:
    """Parses `KIND:SOURCE?OPTION=VALUE&...`, for example `software:clip.mp4?width=640&height=480`.

    The policy's view may be given in front: `wrist=realsense:123622270915`. The options are those of OPTIONS; the
    source ends at the last `?`. Files are opened, and defaults are filled in by `CameraConfig.completed`.

    Raises:
        BadInputError: unknown kind, view or option, an invalid value, or a file that is missing or not a video.
        MissingDependencyError: PyAV is needed to read a video and is not installed.
    """
    config = parse_camera(text)
    if config.is_file and not Path(config.source).is_file():
        raise BadInputError(
            f"camera {text}: there is no file {config.source!r}; check the path"
            + ("; end a file name that contains `?` with one more `?`" if "?" in text else "")
        )
    return config.completed()


def parse_camera(text: str) -> CameraConfig:
    """`camera_from_text` without opening the file and without defaults."""
    check_text("camera", text)
    named = NAMED.match(text)
    view, text = named.groups() if named else ("", text)
    head, mark, tail = text.rpartition("?")
    head, tail = (head, tail) if mark else (text, "")
    kind, _, source = head.partition(":")
    if kind not in OPTIONS:
        raise BadInputError(
            f"camera {text!r}: unknown kind {kind!r}{did_you_mean(kind, OPTIONS)}; expected {', '.join(OPTIONS)}, then "
            "`:SOURCE`"
        )
    options: dict[str, Any] = {}
    for pair in filter(None, tail.split("&")):
        key, _, value = pair.partition("=")
        if key not in OPTIONS[kind]:
            raise BadInputError(
                f"camera {text!r}: unknown option {key!r}{did_you_mean(key, OPTIONS[kind])}; {kind} has "
                f"{', '.join(OPTIONS[kind])}"
            )
        if key in options:
            raise BadInputError(f"camera {text!r}: option {key!r} is given twice; give it once")
        try:
            options[key] = _READERS[key](value)
        except BadInputError as error:
            raise BadInputError(f"camera {text!r}: {key} {error}") from None
    source = source if kind == "realsense" else path_from_text(source)
    return CameraConfig(kind, source, **options, view=view)


_READERS: dict[str, Callable[[str], Any]] = {
    "width": PIXELS.from_text,
    "height": PIXELS.from_text,
    "fps": FPS.from_text,
    "loop": lambda text: bool(whole(0, 1).from_text(text)),
}
