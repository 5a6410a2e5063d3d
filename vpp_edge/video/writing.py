"""Writes videos: RGB frames come in, an MP4 or an animated WebP goes out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.files.partial import PartialFile
from vpp_edge.video.library import load_av

HIGHEST_FPS = 1000.0
WEBP_QUALITY = "70"
MPEG4_BIT_RATE = 8_000_000  # without an H.264 encoder: enough for 640x480 without visible blocks


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
