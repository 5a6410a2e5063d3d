"""Check the files of a checkpoint before they are read, with errors that say how to fix what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp_edge.errors import CheckpointError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.paths import PARTIAL_SUFFIXES

_ZIPPED = (".pt", ".pth", ".ckpt")  # PyTorch's files are zip archives themselves


def check_file(path: Path, meaning: str) -> None:
    """Raises CheckpointError unless `path` is a non-empty regular file and not a pointer, a web page or an archive."""
    if not path.exists():
        partial = [p.name for p in path.parent.glob(f"{path.name}*") if p.name.endswith(PARTIAL_SUFFIXES)]
        hint = f" There is an unfinished download next to it ({', '.join(sorted(partial))})." if partial else ""
        raise CheckpointError(f"{path}: missing; it should hold {meaning}.{hint} Download or copy it again.")
    if not path.is_file():
        raise CheckpointError(f"{path}: not a file; it should hold {meaning}.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: empty; it should hold {meaning}. Download or copy it again.")
    foreign = _mislabelled(path) or foreign_content(path, zipped=path.suffix in _ZIPPED)
    if foreign is not None:
        raise CheckpointError(f"{path}: {foreign}.")


def _mislabelled(path: Path) -> str | None:
    """What a file is whose suffix promises the other of PyTorch's and safetensors' formats."""
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix in _ZIPPED and start[8:] == b"{" and start[6:8] == b"\0\0":  # after 8 bytes of length
        return f"a safetensors file under another name; rename it to {path.stem}.safetensors"
    if path.suffix == ".safetensors" and start.startswith((b"PK\x03\x04", b"\x80\x02")):
        return f"a PyTorch file under another name; rename it to {path.stem}.pt"
    return None


def read_json(path: Path, meaning: str) -> dict[str, Any]:
    """The object in a JSON file; CheckpointError when it is missing, damaged or not an object."""
    check_file(path, meaning)
    data = read_json_file(path, meaning, error=CheckpointError)
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object with {meaning}, got {type(data).__name__}")
    return data


def refuse_partial_downloads(folder: Path) -> None:
    """Raises CheckpointError when a download into `folder` was not finished."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Check the path and download or copy it again.")
    partial = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if _is_unfinished(p, folder))
    if partial:
        raise CheckpointError(f"{folder}: unfinished download ({', '.join(partial[:5])}). Finish or repeat it.")


def _is_unfinished(path: Path, folder: Path) -> bool:
    """Whether a download into `folder` was left half done: not where the whole file is there, nor in hidden folders."""
    if not path.name.endswith(PARTIAL_SUFFIXES):
        return False
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and not path.with_suffix("").exists()
