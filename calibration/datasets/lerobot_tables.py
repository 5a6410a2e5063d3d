"""The Parquet tables of a LeRobot data set: its episodes, and the time and state of every row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp_edge.calibration.datasets.recording import file_inside
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.files.paths import data_files
from vpp_edge.installing import pip_install

_LARGEST = 2.0**63
_EPISODE, _TIME, _STATE = "episode_index", "timestamp", "observation.state"


@dataclass(frozen=True)
class Episode:
    """A row of `meta/episodes`, with errors that name it."""

    source: Path
    fields: dict[str, Any]

    @property
    def number(self) -> int:
        return self.integer(_EPISODE)

    def value(self, name: str) -> Any:
        """The content of a column. Raises BadInputError where there is none."""
        if name not in self.fields:
            raise self._wrong(f"there is no column {name!r}")
        return self.fields[name]

    def integer(self, name: str) -> int:
        """A whole number. Raises BadInputError for anything else."""
        number = self.real(name)
        if number != int(number):
            raise self._wrong(f"{name} is {number!r}, expected a whole number")
        return int(self.fields[name])

    def real(self, name: str) -> float:
        """A finite number of plausible size. Raises BadInputError for anything else."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:  # NaN too
            raise self._wrong(f"{name} is {value!r:.40}, expected a number")
        return float(value)

    def place(self, kind: str) -> str:
        """`chunk-000/file-000` of its rows (`data`) or of a video (`videos/KEY`)."""
        return f"chunk-{self.integer(f'{kind}/chunk_index'):03d}/file-{self.integer(f'{kind}/file_index'):03d}"

    def _wrong(self, what: str) -> BadInputError:
        return BadInputError(
            f"{self.source}: a missing or invalid field of an episode: {what}; copy the data set again, or write it as "
            "LeRobot v3.0 does"
        )


def read_episodes(root: Path) -> list[Episode]:
    """The episodes of a data set by their numbers.

    Raises:
        BadInputError: a table is damaged, or there is no episode, or one is listed twice.
    """
    folder = root / "meta" / "episodes"
    episodes = [Episode(folder, row) for file in data_files(folder, "chunk-*/file-*.parquet") for row in _rows(file)]
    if not episodes:
        raise BadInputError(f"{folder}: holds no episode")
    episodes.sort(key=lambda episode: episode.number)  # the files may be in another order
    if len({episode.number for episode in episodes}) < len(episodes):
        raise BadInputError(f"{folder}: lists an episode twice; copy the data set again")
    return episodes


@dataclass
class EpisodeRows:
    """The rows of an episode, in order.

    Attributes:
        source: the file.
        count: number of rows.
        times: seconds from the begin of the episode; None where the data set has none.
        states: None where the data set has none.
    """

    source: Path
    count: int
    times: list[Any] | None
    states: list[Any] | None


class RowTables:
    """Rows by episode; a Parquet file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[Path, dict[int, list[dict[str, Any]]]] = {}

    def of(self, episode: Episode) -> EpisodeRows:
        """The rows of one episode. Raises BadInputError where the file is missing, damaged or has none."""
        file = file_inside(self._root, f"data/{episode.place('data')}.parquet", self._root / "meta")
        if file not in self._files:
            found: dict[int, list[dict[str, Any]]] = {}
            for row in _rows(file, (_EPISODE, _TIME, _STATE)):
                found.setdefault(Episode(file, row).number, []).append(row)
            self._files[file] = found
        rows = self._files[file].get(episode.number)
        if rows is None:
            raise BadInputError(f"{file}: holds no row of episode {episode.number}")
        times, states = [row.get(_TIME) for row in rows], [row.get(_STATE) for row in rows]
        return EpisodeRows(
            source=file,
            count=len(rows),
            times=None if all(time is None for time in times) else times,
            # A single number is not stored as a list.
            states=None if all(s is None for s in states) else [s if isinstance(s, list) else [s] for s in states],
        )


def _rows(path: Path, columns: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "reading LeRobot data sets", pip_install("lerobot")) from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = [n for n in file.schema_arrow.names if not n.startswith("stats/")]  # statistics of every episode, large
        present = [n for n in names if columns is None or n in columns]
        return list(file.read(columns=present).to_pylist())
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise BadInputError(f"{path}: {foreign_content(path) or f'not readable as Parquet ({error})'}") from error
