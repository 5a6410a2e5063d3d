"""Which frames of a video belong to the rows of a recording, and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.video import Timeline, decoded_frames, timeline

_SLACK = 1.01  # of half a frame: rates such as 29.97 against 30 meet its edge
_SLOWEST = 0.75  # frames per row; with fewer, some rows have none


class FrameChoice(Protocol):
    """Finds the frames of rows."""

    def numbers(self, times: Timeline, rows: Iterable[int], recording: str) -> list[int]:
        """The number of the frame of each row, counted from the begin of the file.

        Raises:
            BadInputError: a row has none, or the video does not fit the recording. The message continues the path of
                the video.
        """


@dataclass(frozen=True)
class FramesByNumber:
    """Row n is frame n, in layouts without times.

    Attributes:
        counts: how many frames the video may have, one for each row; empty: any number.
    """

    counts: frozenset[int] = frozenset()

    def numbers(self, times: Timeline, rows: Iterable[int], recording: str) -> list[int]:
        numbers, found = list(rows), len(times.seconds)
        beyond = [number for number in numbers if number >= found]
        if beyond or found < min(self.counts, default=0):
            raise BadInputError(
                f"ends before row {min(beyond, default=found)} of recording {recording}: it has {found} frames, and "
                "nothing says where one is missing; copy or record it again"
            )
        if self.counts and found not in self.counts:
            raise BadInputError(
                f"has {found} frames, but recording {recording} has {min(self.counts)} rows, and nothing says which "
                "frame belongs to which row; keep one frame for each row"
            )
        return numbers


@dataclass(frozen=True, eq=False)
class FramesByTime:
    """Each row has a time, and its frame is shown within half a frame of it.

    Attributes:
        seconds: (rows,) float64, the time of each row in the file.
        fps: of the rows, as the data set states.
        last_s: when the last row of all the recordings in the file is.
    """

    seconds: np.ndarray
    fps: float
    last_s: float

    def numbers(self, times: Timeline, rows: Iterable[int], recording: str) -> list[int]:
        period_s = _median_step(times.seconds, 1 / self.fps)
        half_s = 0.5 * _SLACK * min(period_s, 1 / self.fps)
        row_s = _median_step(self.seconds, 1 / self.fps)
        if row_s < _SLOWEST * period_s:
            raise BadInputError(
                f"has {1 / period_s:.4g} frames per second, recording {recording} {1 / row_s:.4g} rows per second: not "
                "every row has a frame; record or convert the data set again with one frame for each row"
            )
        self._check_end(float(times.seconds[-1]), half_s, recording)
        found = []
        for row in rows:
            if row >= len(self.seconds):
                raise BadInputError(f"ends before row {row} of recording {recording}, which has {len(self.seconds)}")
            wanted_s = self.seconds[row]
            after = int(np.searchsorted(times.seconds, wanted_s))
            near = min(max(after - 1, 0), len(times.seconds) - 1), min(after, len(times.seconds) - 1)
            number = min(near, key=lambda n: abs(float(times.seconds[n]) - wanted_s))
            if abs(times.seconds[number] - wanted_s) > half_s:
                raise BadInputError(
                    f"has no frame for row {row} of recording {recording}, at {wanted_s:.3f} s: the nearest is at "
                    f"{times.seconds[number]:.3f} s, further than half a frame ({1000 * half_s:.3g} ms) away; leave "
                    "the recording out, or record it again"
                )
            found.append(number)
        return found

    def _check_end(self, last_s: float, half_s: float, recording: str) -> None:
        """A file with too few frames has lost some, perhaps in the middle, where the later ones moved up."""
        if last_s >= self.last_s - half_s:
            return
        missing = np.flatnonzero(self.seconds > last_s + half_s)
        where = f"row {missing[0]} of recording {recording}" if len(missing) else "the last of the recordings in it"
        raise BadInputError(
            f"ends before {where}: its last frame is at {last_s:.3f} s, the last row at {self.last_s:.3f} s, and "
            "nothing says where frames are missing; copy or record it again"
        )


@dataclass(frozen=True)
class VideoPart:
    """The frames of a video that belong to the rows of a recording, or to a part of them.

    Attributes:
        name: of the camera.
        start: first row of the part.
        choice: finds the frame of each row.
        unread: why the pictures cannot be read; empty if they can.
    """

    path: Path
    name: str
    start: int = 0
    choice: FrameChoice = FramesByNumber()
    unread: str = ""

    def pictures(self, rows: Sequence[int], recording: str) -> Iterator[tuple[int, np.ndarray]]:
        """The row, counted from `start`, and its (height, width, 3) uint8 RGB picture, in the order of the video.

        Args:
            recording: its name, for messages.

        Raises:
            BadInputError: the video is missing or damaged, or it does not fit the recording.
        """
        if self.unread:
            raise BadInputError(f"camera {self.name} of recording {recording} {self.unread}")
        times = timeline(self.path)
        try:
            numbers = self.choice.numbers(times, [self.start + row for row in rows], recording)
        except BadInputError as error:
            raise BadInputError(f"video {self.path} {error}") from error
        rows_of: dict[int, list[int]] = {}
        for row, number in zip(rows, numbers, strict=True):
            rows_of.setdefault(number, []).append(row)
        for number, image in _images(self.path, times, set(numbers)):
            yield from ((row, image) for row in rows_of[number])


def _images(path: Path, times: Timeline, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames with these numbers. A decoder leaves out frames that are damaged, which their times tell."""
    left = set(wanted)
    for number, frame in enumerate(decoded_frames(path)):
        if not left:
            return
        if number in left:
            if times.stamped and frame.seconds is not None and abs(frame.seconds - times.seconds[number]) > 1e-6:
                break
            yield number, frame.image()
            left.remove(number)
    if left:
        raise BadInputError(f"video {path}: frame {min(left)} or one before it is damaged; copy or record it again")


def _median_step(seconds: np.ndarray, default: float) -> float:
    """The usual distance of neighbours; `default` where there are none, or they are all at once."""
    return float(np.median(np.diff(seconds))) or default if len(seconds) > 1 else default
