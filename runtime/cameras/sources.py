"""Image sources of cameras without hardware: video files and the simulator."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vpp_edge.runtime.interfaces import HandState
from vpp_edge.video import DecodedFrame, decoded_frames, timeline, video_info

LatestState = Callable[[], "HandState | None"]
# An open hand above the middle of the table, palm down; shown until the real state is known.
UNKNOWN_STATE = HandState(np.array((0.35, 0.0, 0.35, 1.0, 0.0, 0.0, 0.0, *(0.0,) * 12)), 0)


class FrameSource(Protocol):
    """Images in time. Created in one thread; opened, used and closed in another, because renderers are bound to a
    thread.

    Attributes:
        width, height: pixels of every image.
        fps: images per second, on average.
    """

    width: int
    height: int
    fps: float

    def open(self) -> None:
        """Does the slow setup before the first image."""

    def seconds(self, moment: int) -> float:
        """When a moment is due, from that of moment 0 on; increasing."""

    def image(self, moment: int) -> np.ndarray | None:
        """The image of a moment. Moments count from 0, are requested in increasing order and may be skipped.

        Returns:
            (height, width, 3) uint8 RGB, owned by the caller; None at the end of the source.
        """

    def close(self) -> None:
        """Releases what `open` acquired, if anything."""


class VideoSource:
    """The frames of a video, each at its own time: moment n shows frame n, or with `loop` frame n modulo the length.

    Args:
        path: the file.
        loop: start again at the end.
        fps: frames per second, on average; the video is played faster or slower to reach it. None: its own rate.
        size: (width, height) to resize to; None: the video's own size.

    Raises:
        BadInputError: the file does not exist, is not a video, or is damaged.
        MissingDependencyError: PyAV is not installed.
    """

    def __init__(
        self, path: str | Path, loop: bool, fps: float | None = None, size: tuple[int, int] | None = None
    ) -> None:
        info, times = video_info(path), timeline(path)
        self._path, self._loop = path, loop
        self.width, self.height = size or (info.width, info.height)
        self.fps = fps or info.fps
        self._due_s = (times.seconds - times.seconds[0]) * (info.fps / self.fps)
        self._frames: Generator[DecodedFrame, None, None] | None = None
        self._next = 0

    def open(self) -> None:
        self._frames = decoded_frames(self._path)

    def seconds(self, moment: int) -> float:
        lap, number = divmod(moment, len(self._due_s))
        return lap * (float(self._due_s[-1]) + 1 / self.fps) + float(self._due_s[number])

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
        return None if frame is None else frame.image((self.width, self.height))

    def close(self) -> None:
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()


class SimSource:
    """A live view of the simulated hand.

    Args:
        view: one of `vpp_edge.runtime.sim.view_names.VIEWS`.
        latest_state: returns the newest state of the hand, with its scene, or None while it is unknown.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
    """

    def __init__(self, view: str, latest_state: LatestState | None, *, width: int, height: int, fps: float) -> None:
        from vpp_edge.runtime.sim.mujoco_import import import_mujoco

        import_mujoco()  # fails here rather than in the thread
        self._view, self._latest_state = view, latest_state
        self.width, self.height, self.fps = width, height, fps
        self._renderer: Any = None
        self._state = UNKNOWN_STATE

    def open(self) -> None:
        from vpp_edge.runtime.sim.renderer import SimRenderer

        self._renderer = SimRenderer(self.width, self.height)
        self._render()  # the first image takes the longest

    def seconds(self, moment: int) -> float:
        return moment / self.fps

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
