"""Paths that callers give, and atomic writes: a file appears complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from vpp_edge.errors import BadInputError


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes to a temporary file next to `path`, then renames it; an existing file stays until that moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def checked_path(name: str, value: object) -> Path:
    """The path that `value` is; raises BadInputError, which calls it `name`, for anything else."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or "\0" in path:
        got = repr(path) if isinstance(path, str) else f"of type {type(path).__name__}"
        raise BadInputError(f"{name} is {got}, expected the path of a folder, as str or Path")
    return Path(path)
