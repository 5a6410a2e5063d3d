"""Paths that callers give, and folders without what tools leave in them."""

from __future__ import annotations

import os
from pathlib import Path

from vpp_edge.errors import BadInputError

PARTIAL_SUFFIXES = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".tmp")
_LEFT_BEHIND = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "lost+found"}


def data_files(folder: Path, pattern: str) -> list[Path]:
    """The files that match a pattern of `Path.glob` in a folder, sorted.

    Left out are hidden files and folders (`._0.json`, `.ipynb_checkpoints/`, `.cache/`), temporary ones of downloads
    and editors, and what file managers add.
    """
    return sorted(p for p in folder.glob(pattern) if not is_left_behind(p.relative_to(folder)) and p.is_file())


def is_left_behind(path: Path) -> bool:
    """Whether a path inside a folder is hidden or temporary, or was added by a file manager."""
    if path.name.endswith((*PARTIAL_SUFFIXES, "~")):
        return True
    return any(part.startswith(".") or part in _LEFT_BEHIND for part in path.parts)


def path_from_text(text: str) -> str:
    """A path that is part of a longer option, where the shell leaves `~` as it is; others are returned unchanged."""
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:  # no such user
        return text


def checked_path(name: str, value: object) -> Path:
    """The path that `value` is; raises BadInputError, which calls it `name`, for anything else."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or "\0" in path:
        got = repr(path) if isinstance(path, str) else f"of type {type(path).__name__}"
        raise BadInputError(f"{name} is {got}, expected the path of a folder, as str or Path")
    return Path(path)
