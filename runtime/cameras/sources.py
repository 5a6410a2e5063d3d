"""Pictures of cameras without hardware: in, a video file or the simulator; out, one image for every moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vpp_edge.runtime.interfaces import HandState
from vpp_edge.video import decoded_frames, image_from_frame, video_info

LatestState = Callable[[], "HandState | None"]
# A hand over the middle of the table, palm down and open, to be seen before the real state is known.
UNKNOWN_STATE = HandState(np.array((0.35, 0.0, 0.35, 1.0, 0.0, 0.0, 0.0, *(0.0,) * 12)), 0)


class FrameSource(Protocol):
    """Pictures at a rate. Made in one thread; opened, used and closed in another, as what draws belongs to one thread.

    Attributes:
        width, height: pixels of every image.
        fps: moments per second.
    """

    width: int
    height: int
    fps: float

    def open(self) -> None:
        """Does what takes long before the first picture."""

    def image(self, moment: int) -> np.ndarray | None:
        """The picture of a moment, counted from 0 and asked for in rising order, some perhaps never.

        Returns:
            (height, width, 3) uint8 RGB, the caller's own; None when the material has ended.
        """

    def close(self) -> None:
        """Gives back what was opened, if anything was."""


class VideoSource:
    """The frames of a video: moment n is its frame n, or with `loop` frame n modulo its length.

    Args:
        path: the file.
        loop: begin again at the end.
        fps: moments per second; None for the video's own.
        size: (width, height) to resize to; None for the video's own.

    Raises:
        BadInputError: no such file, no video, or a damaged one.
        MissingDependencyError: PyAV is not installed.
    """

    def __init__(
        self, path: str | Path, loop: bool, fps: float | None = None, size: tuple[int, int] | None = None
    ) -> None:
        info = video_info(path)
        self._path, self._loop, self._size = path, loop, size
        self.width, self.height = size or (info.width, info.height)
        self.fps = fps or info.fps
        self._frames: Iterator[Any] | None = None
        self._next = 0

    def open(self) -> None:
        self._frames = decoded_frames(self._path)

    def image(self, moment: int) -> np.ndarray | None:
        frame = None
        while self._next <= moment:
            self._frames = self._frames or decoded_frames(self._path)
            frame = next(self._frames, None)
            if frame is not None:
                self._next += 1
            elif self._loop:
                self._frames = None
            else:
                return None
        return image_from_frame(frame, (self.width, self.height))

    def close(self) -> None:
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()  # type: ignore[attr-defined]  # it is a generator


class SimSource:
    """A view of the simulated hand as it is at each moment.

    Args:
        view: one of `vpp_edge.runtime.sim.VIEWS`.
        latest_state: the newest state of the hand, with its scene; None while it is not known.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
    """

    def __init__(self, view: str, latest_state: LatestState | None, width: int, height: int, fps: float) -> None:
        from vpp_edge.runtime.sim.mujoco_import import import_mujoco

        import_mujoco()  # to be told now what is missing
        self._view, self._latest_state = view, latest_state
        self.width, self.height, self.fps = width, height, fps
        self._renderer: Any = None
        self._state = UNKNOWN_STATE

    def open(self) -> None:
        from vpp_edge.runtime.sim.renderer import SimRenderer

        self._renderer = SimRenderer(self.width, self.height)
        self._render()  # the first picture takes the longest

    def image(self, moment: int) -> np.ndarray | None:
        state = None if self._latest_state is None else self._latest_state()
        if state is not None:
            self._state = state
        return self._render()

    def _render(self) -> np.ndarray:
        state = self._state
        return self._renderer.render(self._view, state.vector, state.scene if state.scene.size else None)

    def close(self) -> None:
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()
