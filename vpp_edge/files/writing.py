"""Writes a file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from vpp_edge.files.partial import PartialFile


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes to a hidden file next to `path`, then renames it; an existing file stays until that moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with PartialFile(path) as partial:
        partial.path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        partial.complete()
