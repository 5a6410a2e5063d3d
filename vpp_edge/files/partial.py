"""Outputs under construction: a hidden file or folder next to its target, which gets the target's name when complete.

Its writer holds a lock (flock) on it, which the kernel releases with the process, however that ends. So the next writer
of the same target can tell what a killed one left from the work of a living one; numbers of processes are used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_LONGEST_NAME = 200  # bytes of a target's name that leave room for what surrounds it here
_REPLACED = "replaced"  # in a partial folder: what was at the target before


def partial_name(target: Path) -> str:
    """A new hidden name next to `target`."""
    return f"{_prefix(target)}{secrets.token_hex(4)}"


def _prefix(target: Path) -> str:
    name = os.fsencode(target.name)
    known = target.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()[:32]
    return f".{known}.partial-"


class PartialFile:
    """A file under construction; `path` may be opened by any library.

    Args:
        target: the name that it gets. What killed writers left of the same target is removed.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.realpath(target))  # what a link points to, not the link, is replaced
        remove_dead(self.target)
        self._lock: int | None = None
        while self._lock is None:
            self.path = self.target.with_name(partial_name(self.target))
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            self._lock = locked(self.path)

    def complete(self) -> None:
        """Gives the file its name, in place of an existing one; it must be closed."""
        os.replace(self.path, self.target)
        self.close()

    def close(self) -> None:
        """Removes what was not completed. May be called twice."""
        if self._lock is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A folder under construction, removed at the end unless it was renamed. Creates the parents of `target`.

    What killed writers left of the same target is removed before.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_dead(target)
    lock = None
    while lock is None:
        path = target.with_name(partial_name(target))
        path.mkdir(mode=0o700)
        lock = locked(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def replace_folder(complete: Path, target: Path) -> None:
    """Gives a complete folder its name; one that is there is moved away first and removed only afterwards.

    After a kill between the two steps, `remove_dead` puts the old one back.
    """
    target = Path(os.path.realpath(target))
    if not target.exists():
        complete.rename(target)
        return
    with partial_folder(target) as beside:
        target.rename(beside / _REPLACED)
        try:
            complete.rename(target)
        except OSError:
            (beside / _REPLACED).rename(target)
            raise


def remove_dead(target: Path) -> None:
    """Removes what killed writers of `target` left beside it; puts back what one of them had begun to replace."""
    target = Path(os.path.realpath(target))
    for path in partials(target):
        with taken_over(path) as taken:
            if not taken:
                continue
            if (path / _REPLACED).exists() and not target.exists():
                (path / _REPLACED).rename(target)
            remove(path)


def partials(target: Path) -> list[Path]:
    """What stands beside `target` under its hidden names, of killed writers or of living ones (see `taken_over`)."""
    try:
        names = os.listdir(target.parent)
    except OSError:
        return []
    return [target.with_name(name) for name in sorted(names) if name.startswith(_prefix(target))]


def remove(path: Path) -> None:
    """Removes a file or a folder as far as permitted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def taken_over(path: Path) -> Iterator[bool]:
    """Whether the writer of a partial file or folder is certainly dead; inside, no other process takes it over."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            dead = True
        except OSError:  # held by its writer, or a file system without locks
            dead = False
        yield dead
    finally:
        os.close(lock)


def locked(path: Path) -> int | None:
    """Locks a file or folder that this process has just made, until the returned descriptor is closed.

    None where another process took it for dead and removed it before.
    """
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # a file system without locks: then nothing on it is ever taken for dead
        fcntl.flock(lock, fcntl.LOCK_EX)
    if path.exists():
        return lock
    os.close(lock)
    return None
