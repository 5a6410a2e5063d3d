"""What must be alike on every machine for the same results: versions, and the files that the work reads."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from vpp_edge import __version__
from vpp_edge.errors import BadInputError
from vpp_edge.installing import installed_version

COMPUTING = ("numpy", "onnxruntime", "torch", "mujoco")  # distributions whose version can change how a result rounds
FILES = 200  # of a folder, in the order of their names: enough to tell a checkpoint or data set from another
WHOLE_BYTES, END_BYTES = 2**20, 2**16  # a larger file is told by its size and both ends; trained weights reach the last


def versions() -> dict[str, str]:
    """By name, of this package, Python and the libraries that compute; `none` of one that is not installed."""
    python = platform.python_version().rpartition(".")[0]
    return {"vpp-edge": __version__, "Python": python} | {n: installed_version(n) or "none" for n in COMPUTING}


def content_of(path: Path) -> str:
    """A hash that tells a file or folder from others of the same name.

    Raises:
        OSError: it cannot be read.
    """
    whole = hashlib.sha256()
    for file in islice(_files_in(path), FILES):
        size = file.stat().st_size
        whole.update(f"{file.relative_to(path)} {size}\n".encode(errors="surrogateescape"))
        with file.open("rb") as content:
            whole.update(content.read(WHOLE_BYTES if size <= WHOLE_BYTES else END_BYTES))
            if size > WHOLE_BYTES:
                content.seek(-END_BYTES, os.SEEK_END)
                whole.update(content.read())
    return whole.hexdigest()


def _files_in(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        yield from _files_in(entry)


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
