"""Videos for tests whose frames come at given times, or which are to be shown turned or mirrored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from vpp_edge.video import load_av

_MILLISECOND = Fraction(1, 1000)
_MATRIX_AT = {0: 40, 1: 52}  # bytes into the content of a track header (`tkhd`) of that version
ONE, W = 1 << 16, 1 << 30
# (a, b, c, d) of a display matrix, and what it does to an image.
ORIENTATIONS = {
    "as it is": ((1, 0, 0, 1), lambda image: image),
    "a quarter clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "half": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "three quarters clockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "left and right exchanged": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "top and bottom exchanged": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed along the other diagonal": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
}


def write_at(
    path: Path,
    frames: Iterable[np.ndarray],
    seconds: Sequence[float],
    tags: dict[str, str] | None = None,
    codec: str = "mpeg4",
) -> Path:
    """A video whose frame n, (height, width, 3) uint8, is shown at `seconds[n]`; the suffix decides the container."""
    with load_av().open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000, bit_rate=8_000_000)
        stream.codec_context.time_base = _MILLISECOND
        stream.pix_fmt = "yuv420p"
        stream.metadata.update(tags or {})
        for number, (image, moment) in enumerate(zip(frames, seconds, strict=True)):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(moment * 1000), _MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path: Path, matrix: Sequence[float]) -> Path:
    """Writes the display matrix (a, b, c, d) into the track header of an MP4, in place."""
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    start = header + _MATRIX_AT[content[header]]
    a, b, c, d = (round(value * ONE) for value in matrix)
    content[start : start + 36] = np.array([a, b, 0, c, d, 0, 0, 0, W], ">i4").tobytes()
    path.write_bytes(content)
    return path
