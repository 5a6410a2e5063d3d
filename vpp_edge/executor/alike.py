"""What must be alike on every machine for the same results: versions, and the files that the work reads."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from vpp_edge import __version__
from vpp_edge.errors import BadInputError
from vpp_edge.installing import installed_version

COMPUTING = ("numpy", "onnxruntime", "torch", "mujoco")  # distributions whose version can change how a result rounds
HASHED_BYTES = 2**20  # of a larger file only the size counts


def versions() -> dict[str, str]:
    """By name, of this package, Python and the libraries that compute; `none` of one that is not installed."""
    python = platform.python_version().rpartition(".")[0]
    return {"vpp-edge": __version__, "Python": python} | {n: installed_version(n) or "none" for n in COMPUTING}


def content_of(path: Path) -> str:
    """A hash of what a file or folder holds at its top: names, sizes, and the content of small files.

    A bundle's manifest lists the hash of every other file, so bundles are told apart by any of their weights.

    Raises:
        OSError: it cannot be read.
    """
    entries = [path] if path.is_file() else sorted(path.iterdir())
    whole = hashlib.sha256()
    for entry in entries:
        whole.update(os.fsencode(entry.name))
        if entry.is_file():
            size = entry.stat().st_size
            whole.update(entry.read_bytes() if size <= HASHED_BYTES else str(size).encode())
    return whole.hexdigest()


def contents(files: Iterable[Path]) -> dict[str, str]:
    """`content_of` by path.

    Raises:
        BadInputError: one cannot be read.
    """
    try:
        return {str(path): content_of(path) for path in files}
    except OSError as error:
        raise BadInputError(f"{error.filename}: {error.strerror}") from error


def differences(theirs: str, wanted_versions: dict[str, str], wanted_contents: dict[str, str]) -> str | None:
    """What this machine, named `theirs`, has otherwise than wanted, and what to do, as a sentence; None if nothing."""
    found = versions()
    for name, wanted in wanted_versions.items():
        if found.get(name) != wanted:
            return f"{theirs} has {name} {found.get(name)}, this machine {wanted}; install the same on every node"
    for path, content in wanted_contents.items():
        try:
            same = content_of(Path(path)) == content
        except OSError as error:
            return (
                f"{theirs} cannot read {path} ({error.strerror}); every node must see it at this path: put it on "
                "storage that all of them mount, or copy it to each"
            )
        if not same:
            return f"{theirs} has something else at {path} than this machine; copy it there again, or share the storage"
    return None
