"""Reads videos: any file that FFmpeg reads comes in, upright RGB frames and the times of their showing go out."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.video.library import load_av
from vpp_edge.video.orientation import Orientation, orientation_of_frame

_UNKNOWN_RATE = Fraction(30)
_RATE_TOLERANCE = 0.01  # the rate in a file's header is exact where its timestamps are rounded, or it is wrong


@dataclass(frozen=True)
class VideoInfo:
    """Properties of the first video stream of a file.

    Attributes:
        fps: average frames per second.
        frames: number of frames.
        width, height: pixels of an upright frame.
    """

    fps: float
    frames: int
    width: int
    height: int


@dataclass(frozen=True)
class Timeline:
    """When the frames of a video are shown.

    Attributes:
        seconds: (frames,) float64, increasing, in the time of the file, which need not begin at 0.
        stamped: whether the file says so of every frame; otherwise they follow from its rate.
        fps: average frames per second.
    """

    seconds: np.ndarray
    stamped: bool
    fps: float


@dataclass(frozen=True)
class DecodedFrame:
    """A frame that is not yet converted to RGB, for callers that skip some.

    Attributes:
        seconds: when it is shown, in the time of the file; None where the file does not say.
        orientation: how its pixels have to be moved.
        pixels: the frame of PyAV.
    """

    seconds: float | None
    orientation: Orientation
    pixels: Any

    def image(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """(height, width, 3) uint8 RGB, upright, resized to `size` (width, height) where given."""
        width, height = (None, None) if size is None else self.orientation.size(*size)
        return self.orientation.upright(self.pixels.to_ndarray(format="rgb24", width=width, height=height))


def video_info(path: str | Path) -> VideoInfo:
    """Rate, length and size of a video. Raises BadInputError where the file is missing or holds no video."""
    times = timeline(path)
    with contextlib.closing(decoded_frames(path)) as frames:
        first = next(frames)
    width, height = first.orientation.size(first.pixels.width, first.pixels.height)
    return VideoInfo(fps=times.fps, frames=len(times.seconds), width=width, height=height)


def timeline(path: str | Path) -> Timeline:
    """When each frame of a video is shown. The file is read, but not decoded.

    Raises:
        BadInputError: the file is missing, no video, or damaged.
    """
    with _opened(path) as stream:
        base, rate = stream.time_base, stream.average_rate or stream.guessed_rate or _UNKNOWN_RATE
        packets, stamped = stream.container.demux(stream), stream.container.format.name != "avi"
        try:
            stamps = [packet.pts for packet in packets if packet.size and not packet.is_discard]
        except load_av().error.FFmpegError as error:
            raise _damaged(path, 0, error) from error
    if not stamps:
        raise BadInputError(f"video {path}: holds no frame; expected at least one")
    if any(stamp is None for stamp in stamps):
        return Timeline(seconds=np.arange(len(stamps)) / float(rate), stamped=False, fps=float(rate))
    ticks = sorted(stamps)
    seconds = np.array(ticks, dtype=np.float64) * base.numerator / base.denominator
    if ticks[-1] > ticks[0]:
        measured = (len(ticks) - 1) / ((ticks[-1] - ticks[0]) * base)
        if abs(measured / rate - 1) > _RATE_TOLERANCE:
            rate = measured
    return Timeline(seconds=seconds, stamped=stamped, fps=float(rate))  # an AVI numbers its frames in another order


def read_frames(path: str | Path, size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """Every frame of a video in order, each a new (height, width, 3) uint8 RGB array, upright.

    Args:
        size: (width, height) to resize to; None for the file's own.

    Raises:
        BadInputError: the file is missing, no video, damaged, or rotated by a part of a quarter turn.
    """
    for frame in decoded_frames(path):
        yield frame.image(size)


def decoded_frames(path: str | Path) -> Generator[DecodedFrame, None, None]:
    """The same before their conversion to RGB."""
    number = 0
    with _opened(path) as stream:
        tags = dict(stream.metadata)
        try:
            for frame in stream.container.decode(stream):
                yield DecodedFrame(seconds=frame.time, orientation=_orientation(path, frame, tags), pixels=frame)
                number += 1
        except load_av().error.FFmpegError as error:
            raise _damaged(path, number, error) from error
    if not number:
        raise BadInputError(f"video {path}: holds no frame; expected at least one")


def _orientation(path: str | Path, frame: Any, tags: dict[str, str]) -> Orientation:
    try:
        return orientation_of_frame(frame, tags)
    except BadInputError as error:
        raise BadInputError(f"video {path}: {error}") from error


def _damaged(path: str | Path, number: int, error: Exception) -> BadInputError:
    return BadInputError(f"video {path}: damaged after frame {number}: {error}; copy or record it again")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """The first video stream of a file."""
    av, found = load_av(), foreign_content(Path(path))
    if found is not None:  # FFmpeg would take some text for a video
        raise BadInputError(f"video {path}: {found}")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise BadInputError(f"video {path}: cannot be opened: {error}; give a video file that FFmpeg reads") from error
    with container:
        if not container.streams.video:
            raise BadInputError(f"video {path}: holds no video stream; give a video file")
        yield container.streams.video[0]
