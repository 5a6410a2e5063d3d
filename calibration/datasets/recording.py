"""Recordings, the common form of all layouts; their images are decoded on demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpp_edge.calibration.datasets.video_part import VideoPart
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import whole
from vpp_edge.suggestion import did_you_mean
from vpp_edge.wording import counted

_MOST_ROWS = 100_000_000  # four months at 10 Hz


@dataclass(frozen=True)
class Recording:
    """One demonstration.

    Attributes:
        name: unique in its data set.
        instruction: text that the robot was given.
        length: number of rows.
        views: one video per camera, in the order of the data set.
        states: (length, P) float64 in physical units; None if the data set has none.
    """

    name: str
    instruction: str
    length: int
    views: tuple[VideoPart, ...]
    states: np.ndarray | None

    def images(self, rows: Sequence[int], views: int) -> list[list[np.ndarray]]:
        """For every row, (height, width, 3) uint8 RGB of the first `views` views.

        Raises:
            BadInputError: a video is missing or damaged, or it has no frame of the time of a row.
        """
        if views > len(self.views):
            raise BadInputError(
                f"recording {self.name} has {counted(len(self.views), 'view')}, the policy needs {views}; "
                "use recordings of the cameras that the policy was trained on"
            )
        beyond = [row for row in rows if not 0 <= row < self.length]
        if beyond:
            raise BadInputError(f"recording {self.name} ends before row {beyond[0]}; it has {self.length} rows")
        by_view = [dict(part.pictures(rows, self.name)) for part in self.views[:views]]
        return [[images[row] for images in by_view] for row in rows]

    def with_views(self, names: Sequence[str]) -> Recording:
        """The same recording with only the named views, in that order.

        Args:
            names: camera names, their last part (`top` for `observation.images.top`), or numbers from 0.

        Raises:
            BadInputError: there is no such view.
        """
        return replace(self, views=tuple(self._view(name) for name in names)) if names else self

    def _view(self, name: str) -> VideoPart:
        for part in self.views:
            if name == part.name or part.name.endswith(f".{name}"):
                return part
        if (number := whole(0, len(self.views) - 1).parsed(name)) is not None:
            return self.views[number]
        names = [part.name for part in self.views]
        known = ", ".join(names)
        raise BadInputError(f"recording {self.name} has no view {name!r}{did_you_mean(name, names)}; it has {known}")


@dataclass(frozen=True)
class Dataset:
    """Recordings in the order of their names."""

    path: Path
    recordings: tuple[Recording, ...]

    def select(self, names: Iterable[str]) -> Dataset:
        """Only the named recordings. Raises BadInputError for an unknown name."""
        wanted = list(names)
        by_name = {r.name: r for r in self.recordings}
        missing = [n for n in wanted if n not in by_name]
        if missing:
            hint = did_you_mean(missing[0], by_name)
            known = ", ".join(list(by_name)[:20])
            raise BadInputError(f"{self.path} has no recording {missing[0]!r}{hint}; it has {known}")
        return replace(self, recordings=tuple(by_name[n] for n in wanted))


def file_inside(root: Path, name: object, source: Path) -> Path:
    """The path of a file that a data set names relative to its root.

    Raises:
        BadInputError: the name is not text or leads outside the folder, or the file is missing.
    """
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadInputError(f"{source}: names the file {name!r}, which is not a path inside the data set")
    path = root / name
    try:
        found = path.is_file()
    except OSError:  # for example, a name that is too long
        found = False
    if not found:
        raise BadInputError(f"{source}: the file {path} named there is missing; copy the data set again")
    return path


def instruction_from(texts: object, source: Path) -> str:
    """The first text of a recording. Raises BadInputError when there is none, or it is not text."""
    first = texts[0] if isinstance(texts, list) and texts else None
    if not isinstance(first, str) or any("\ud800" <= c <= "\udfff" for c in first):
        raise BadInputError(f"{source}: has the instructions {texts!r:.80}; expected a list of texts, at least one")
    return first


def checked_length(length: int, source: Path) -> int:
    """`length`. Raises BadInputError for an implausible number of rows."""
    if not 1 <= length <= _MOST_ROWS:
        raise BadInputError(f"{source}: a recording of {counted(length, 'row')}; expected 1 to {_MOST_ROWS}")
    return length


def states_array(values: object, length: int, source: Path) -> np.ndarray:
    """(length, P) float64. Raises BadInputError for ragged, missing or non-finite states."""
    try:
        states = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInputError(f"{source}: the states are not a table of numbers ({error})") from error
    if states.ndim != 2 or len(states) < length or not np.isfinite(states).all():
        raise BadInputError(
            f"{source}: the states have shape {states.shape}; expected {length} finite rows of equal length"
        )
    return states[:length]
