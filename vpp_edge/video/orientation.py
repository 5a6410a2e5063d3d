"""Which way up a video is to be shown: in, what its file says; out, images with their pixels where a player shows them.

Phones and some encoders do not turn the pixels of a video but write a display matrix, or the older tag `rotate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError

_MATRIX_BYTES = 36
_NEGLIGIBLE = 1e-3  # of the larger entries of a matrix; those of real files are exact


@dataclass(frozen=True)
class Orientation:
    """How the pixels of an image are moved: first transposed, then mirrored.

    Attributes:
        transposed: rows become columns.
        upside_down: the first row becomes the last.
        mirrored: the first column becomes the last.
    """

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def upright(self, image: np.ndarray) -> np.ndarray:
        """The image, (height, width, 3), as it is to be shown; height and width change places if `transposed`."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        image = image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return np.ascontiguousarray(image)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of an upright image from those of its pixels, and the other way round."""
        return (height, width) if self.transposed else (width, height)


def orientation_of_frame(frame: Any, tags: dict[str, str]) -> Orientation:
    """The orientation of a frame of PyAV, from its display matrix, or else from the tag `rotate` of its stream.

    Raises:
        BadInputError: a rotation by another angle than a multiple of 90 degrees, or one that PyAV cannot read.
    """
    try:
        notes = list(frame.side_data)
    except ValueError as error:  # of a kind that this PyAV has no name for; it then shows none at all
        raise _refusal("notes that PyAV cannot read (such as Exif), so which way up is not known") from error
    for data in notes:
        if data.type.name == "DISPLAYMATRIX" and data.buffer_size >= _MATRIX_BYTES:
            return orientation_from_matrix(np.frombuffer(bytes(data), np.int32)[:9].tolist())
    text = next((value for key, value in tags.items() if key.lower() == "rotate"), "0")
    try:
        angle = float(text)
    except ValueError:
        angle = math.nan
    return _orientation_from_angle(angle, f"the tag rotate={text}")


def orientation_from_matrix(matrix: Sequence[int]) -> Orientation:
    """The orientation of a display matrix, nine numbers (a, b, u, c, d, v, x, y, w).

    A pixel at (x, y) is shown at (a x + c y, b x + d y), with y downward (ISO/IEC 14496-12, 8.3.2). The size and the
    place that the matrix also gives are left aside, as players do.

    Raises:
        BadInputError: a rotation by another angle than a multiple of 90 degrees.
    """
    a, b, _, c, d, *_ = matrix
    along, across = min(abs(a), abs(d)), min(abs(b), abs(c))
    if max(abs(b), abs(c)) < _NEGLIGIBLE * along:
        return Orientation(upside_down=d < 0, mirrored=a < 0)
    if max(abs(a), abs(d)) < _NEGLIGIBLE * across:
        return Orientation(transposed=True, upside_down=b < 0, mirrored=c < 0)
    degrees = math.degrees(math.atan2(b, a))
    raise _refusal(f"a display matrix that turns it by {degrees:.4g} degrees or distorts it")


def _orientation_from_angle(clockwise: float, meaning: str) -> Orientation:
    if clockwise % 90 != 0:  # not a number too
        raise _refusal(meaning)
    quarters = int(clockwise // 90) % 4
    return (
        Orientation(),
        Orientation(transposed=True, mirrored=True),
        Orientation(upside_down=True, mirrored=True),
        Orientation(transposed=True, upside_down=True),
    )[quarters]


def _refusal(meaning: str) -> BadInputError:
    return BadInputError(
        f"has {meaning}; only quarter turns and mirror images are applied. Write it again with its pixels turned, for "
        "example with `ffmpeg -i OLD NEW`"
    )
