"""Whether an output can be written, tried before the work that it is for by everything that writes one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vpp_edge.errors import BadInputError
from vpp_edge.files.partial import partial_name

_TRIAL_BYTES = 4096  # a page: shows a full disk


def check_output_file(path: Path, option: str) -> None:
    """Checks that a file can be written to `path`, new or in place of an existing one.

    Args:
        option: the words before the path in messages, such as `--html`.

    Raises:
        BadInputError: a folder or device, a link to nowhere, or in a folder that cannot be written to.
    """
    name = f"{option} {path}"
    _check(name, path, beside=True)
    if path.is_dir():
        raise BadInputError(f"{name}: this is a folder; give the path of a file")
    if path.exists() and not path.is_file():
        raise BadInputError(f"{name}: this is a device or the like, and it would be replaced; give the path of a file")


def check_output_folder(path: Path, option: str, whole: bool = False) -> None:
    """Checks that files can be written to the folder `path`, which may exist.

    Args:
        whole: it is made beside `path` and appears, or replaces one, as a whole.

    Raises:
        BadInputError: a file, a link to nowhere, or no permission or space to write.
    """
    name = f"{option} {path}"
    _check(name, path, beside=whole)
    if path.exists() and not path.is_dir():
        raise BadInputError(f"{name}: this is a file; give the path of a folder")


def check_temporary_files() -> None:
    """Raises BadInputError unless there is a folder for temporary files that can be written to."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise BadInputError(f"{error.strerror or error}; set TMPDIR to a folder that can be written to") from error


def _check(name: str, path: Path, beside: bool) -> None:
    """Tries to write in the folder of `path` (`beside`) or in it, or in the one in which these would be created."""
    try:
        if path.is_symlink() and not path.exists():
            target = os.readlink(path)
            raise BadInputError(f"{name}: this is a link to {target}, which does not exist; remove it or give another")
        real = Path(os.path.realpath(path))
        folder = real.parent if beside else real
        while not folder.exists():  # raises OSError for a name that no folder can have
            folder = folder.parent
        if folder.is_dir():
            _try_writing(folder / partial_name(real))
        elif folder != real:
            raise BadInputError(f"{name}: {folder} is a file, not a folder; give another path")
    except OSError as error:
        raise BadInputError(f"{name}: cannot be written ({error.strerror}); give another path") from error
    except ValueError as error:  # a zero byte in the path
        raise BadInputError(f"{name!r}: not a path ({error})") from error


def _try_writing(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, bytes(_TRIAL_BYTES))
    finally:
        os.close(descriptor)
        os.unlink(path)
