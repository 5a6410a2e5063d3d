"""Video files: read RGB frames from any file that FFmpeg reads, write frames to an MP4 or an animated WebP.

The only place that imports PyAV.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.partial import PartialFile

HIGHEST_FPS = 1000.0
WEBP_QUALITY = "70"
MPEG4_BIT_RATE = 8_000_000  # without an H.264 encoder: enough for 640x480 without visible blocks


@dataclass(frozen=True)
class VideoInfo:
    """Properties of the first video stream of a file.

    Attributes:
        fps: average frames per second.
        frames: number of frames; 0 if the file does not say.
        width, height: pixels.
    """

    fps: float
    frames: int
    width: int
    height: int


def load_av() -> ModuleType:
    """PyAV. Raises MissingDependencyError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("PyAV", "reading and writing videos", "pip install 'vpp-edge[video]'") from error
    return av


def video_info(path: str | Path) -> VideoInfo:
    """Rate, length and size of a video. Raises BadInputError where the file is missing or holds no video."""
    with _opened(path) as stream:
        rate = stream.average_rate or stream.guessed_rate or Fraction(30)
        return VideoInfo(
            fps=float(rate), frames=stream.frames, width=stream.codec_context.width, height=stream.codec_context.height
        )


def read_frames(path: str | Path, size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """Every frame of a video in order, each a new (height, width, 3) uint8 RGB array.

    Args:
        size: (width, height) to resize to; None for the file's own.

    Raises:
        BadInputError: the file is missing, no video, or damaged.
    """
    for frame in decoded_frames(path):
        yield image_from_frame(frame, size)


def decoded_frames(path: str | Path) -> Iterator[Any]:
    """The same as PyAV frames, not yet converted to RGB, for callers that skip some."""
    number = 0
    with _opened(path) as stream:
        try:
            for frame in stream.container.decode(stream):
                yield frame
                number += 1
        except load_av().error.FFmpegError as error:
            raise BadInputError(
                f"video {path}: damaged after frame {number}: {error}; copy or record it again"
            ) from error
    if not number:
        raise BadInputError(f"video {path}: holds no frame; expected at least one")


def image_from_frame(frame: Any, size: tuple[int, int] | None = None) -> np.ndarray:
    """(height, width, 3) uint8 RGB of a frame of PyAV, resized to `size` (width, height) where given."""
    width, height = size or (None, None)
    image = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(image)


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Writes an MP4 to a temporary file and renames it when it is complete.

    Args:
        path: target; an existing file is replaced.
        frames: (height, width, 3) uint8 RGB, all of one size, at least one. Odd sizes are padded by one pixel, because
            4:2:0 needs even ones.
        fps: frames per second, above 0 and at most 1000.

    Raises:
        BadInputError: no frame, frames of different sizes or another dtype, or a rate out of range.
    """
    path = Path(path)
    if not 0 < fps <= HIGHEST_FPS:
        raise BadInputError(f"video {path}: {fps} fps; expected above 0 and at most {HIGHEST_FPS:g}")
    writer: VideoWriter | None = None
    with PartialFile(path) as partial:
        with contextlib.ExitStack() as stack:
            for image in frames:
                if writer is None:
                    height, width = _checked_shape(path, image)
                    writer = stack.enter_context(VideoWriter(partial.path, width, height, fps))
                writer.add(image)
        if writer is None:
            raise BadInputError(f"video {path}: got no frame; expected at least one")
        partial.complete()
    return path


def write_animation(path: str | Path, frames: Sequence[np.ndarray], fps: float) -> Path:
    """Writes a looping animated WebP, for pages that show images but no videos.

    Args:
        path: target; an existing file is replaced once the new one is complete.
        frames: (height, width, 3) uint8 RGB, all of one size, at least one.
        fps: frames per second, above 0 and at most 1000.

    Raises:
        BadInputError: no frame, frames of different sizes or another dtype, bad rate, or a PyAV without WebP.
    """
    av, path = load_av(), Path(path)
    if not frames or not 0 < fps <= HIGHEST_FPS or "libwebp_anim" not in av.codecs_available:
        raise BadInputError(
            f"animation {path}: {len(frames)} frames at {fps} fps; expected at least one, a rate of up to "
            f"{HIGHEST_FPS:g}, and a PyAV with libwebp"
        )
    height, width = _checked_shape(path, frames[0])
    with PartialFile(path) as partial:
        with av.open(str(partial.path), "w", format="webp", options={"loop": "0"}) as container:
            rate = Fraction(fps).limit_denominator(1_000_000)
            stream = container.add_stream("libwebp_anim", rate=rate, options={"quality": WEBP_QUALITY})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image in frames:
                if _checked_shape(path, image) != (height, width):
                    raise BadInputError(f"animation {path}: a frame is {image.shape}; expected {frames[0].shape}")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            container.mux(stream.encode())
        partial.complete()
    return path


class VideoWriter:
    """Writes an MP4 frame by frame: fast, near-lossless H.264, or MPEG-4 if PyAV has no H.264 encoder.

    Args:
        width, height: of the frames; odd sizes are padded by one pixel.
        fps: frames per second.
    """

    def __init__(self, path: str | Path, width: int, height: int, fps: float | Fraction) -> None:
        self._av, self._path, self._shape = load_av(), path, (height, width, 3)
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        rate = Fraction(fps).limit_denominator(1_000_000)
        self._container: Any = self._av.open(str(path), "w", format="mp4")
        if "libx264" in self._av.codecs_available:
            self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "veryfast"})
        else:
            self._stream = self._container.add_stream("mpeg4", rate=rate, bit_rate=MPEG4_BIT_RATE)
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.thread_count = 1  # it runs next to a control loop

    def add(self, image: np.ndarray) -> None:
        """Encodes one frame, (height, width, 3) uint8 RGB. Raises BadInputError for another shape or dtype."""
        if image.shape != self._shape or image.dtype != np.uint8:
            raise BadInputError(
                f"video {self._path}: a frame is {image.dtype} {image.shape}; expected uint8 {self._shape} as the first"
            )
        padded = np.ascontiguousarray(np.pad(image, self._padding, mode="edge"))
        self._container.mux(self._stream.encode(self._av.VideoFrame.from_ndarray(padded, format="rgb24")))

    def close(self) -> None:
        """Finishes the file. May be called twice."""
        container, self._container = self._container, None
        if container is not None:
            container.mux(self._stream.encode())
            container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked_shape(path: Path, image: np.ndarray) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise BadInputError(f"video {path}: a frame is {image.dtype} {image.shape}; expected uint8 (height, width, 3)")
    return image.shape[0], image.shape[1]


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """The first video stream of a file."""
    av = load_av()
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise BadInputError(f"video {path}: cannot be opened: {error}; give a video file that FFmpeg reads") from error
    with container:
        if not container.streams.video:
            raise BadInputError(f"video {path}: holds no video stream; give a video file")
        yield container.streams.video[0]
