"""Where an episode is recorded: a hidden folder with a number of its own in the data set, and its way to its place.

    .partial-<split>-<id>/    0.mp4, 1.mp4, ..., timings.npz, ticks.bin; annotation.json once all of them are complete

The recorder holds a lock on the folder as long as it lives, so what a killed one left is told from a living one's work.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from vpp_edge.files.partial import locked, remove, taken_over

KINDS = ("videos", "timings", "annotation")
ANNOTATION, TIMINGS = "annotation.json", "timings.npz"
_NAME = re.compile(r"\.partial-(\w+)-(\d+)")


class EpisodeFolder:
    """The hidden folder of one episode; removed by `close`.

    Args:
        root: of the data set.
        split: the part of it that the episode belongs to.

    Attributes:
        number: of the episode, the first free one.
        path: of the folder.
    """

    def __init__(self, root: Path, split: str) -> None:
        self._root, self._split, self.number = root, split, -1
        self._lock: int | None = None
        while self._lock is None:
            self.number += 1
            self.path = root / f".partial-{split}-{self.number}"
            places = (root / "annotation" / split / f"{self.number}.json", root / "videos" / split / str(self.number))
            if any(place.exists() for place in places):
                continue
            try:
                self.path.mkdir(parents=True)
            except FileExistsError:  # another run is writing it
                continue
            self._lock = locked(self.path)

    def publish(self) -> Path:
        """Moves the complete episode to its place; the path of its annotation."""
        return _published(self.path, self._root, self._split, self.number)

    def close(self) -> None:
        """Removes what is left. May be called twice."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def finish_episodes(root: Path) -> tuple[str, ...]:
    """Ends what killed recorders began: a complete episode is moved to its place, the rest is removed.

    Returns:
        a note for each episode that was moved.
    """
    notes = []
    for path in sorted(root.glob(".partial-*")) if root.is_dir() else []:
        name = _NAME.fullmatch(path.name)
        with taken_over(path) as taken:
            if name is None or not taken:
                continue
            if (path / ANNOTATION).is_file():
                annotation = _published(path, root, name[1], int(name[2]))
                notes.append(f"the recording of an earlier run that was killed at its very end is now {annotation}")
            remove(path)
    return tuple(notes)


def _published(path: Path, root: Path, split: str, number: int) -> Path:
    """Moves what has not been moved yet; the annotation last, as it is what makes the episode exist."""
    videos = root / "videos" / split / str(number)
    annotation = root / "annotation" / split / f"{number}.json"
    timings = root / "timings" / split / f"{number}.npz"
    for place in (videos, timings.parent, annotation.parent):
        place.mkdir(parents=True, exist_ok=True)
    for video in path.glob("*.mp4"):
        os.replace(video, videos / video.name)
    if (path / TIMINGS).exists():
        os.replace(path / TIMINGS, timings)
    os.replace(path / ANNOTATION, annotation)
    return annotation
