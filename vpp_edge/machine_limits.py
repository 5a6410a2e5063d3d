"""Limits of the machine that end a command: which one an exception comes from, and how to raise it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
# Of files and folders that a user names; what is missing or of the wrong kind is checked where it is named.
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE)


def limit_behind(error: BaseException) -> str | None:
    """What the system refused and what to do about it, as a sentence; None where the error is no such refusal."""
    if isinstance(error, MemoryError):
        return "this machine has too little free memory for it; close other programs, or use a larger machine"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _too_many_processes()
    if not isinstance(error, OSError):
        return None
    if error.errno in OUT_OF_FILES:
        return _too_many_files()
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    if error.errno == errno.EAGAIN and error.filename is None:
        return _too_many_processes()
    if error.errno == errno.ENOMEM:
        return limit_behind(MemoryError())
    if error.errno in FULL:
        return f"{where}no space left; free some, or write to another disk"
    if error.errno in DENIED and error.filename is not None:
        return f"{where}{error.strerror}; check its permissions, or name another place"
    return None


def _too_many_files() -> str:
    return (
        f"too many open files{_limit('RLIMIT_NOFILE', 'a process may have {} of them')}; raise the limit with "
        "`ulimit -n 4096`, in a container with docker run --ulimit nofile=4096"
    )


def _too_many_processes() -> str:
    return (
        f"the system refuses another process or thread{_limit('RLIMIT_NPROC', 'this user may have {} of them')}; end "
        "other programs, or raise the limit: `ulimit -u`, docker run --pids-limit, TasksMax= of a systemd unit"
    )


def _limit(name: str, words: str) -> str:
    """` (WORDS with the number)`; nothing where there is no limit."""
    import resource

    limit = resource.getrlimit(getattr(resource, name))[0]
    return "" if limit == resource.RLIM_INFINITY else f" ({words.format(limit)})"


def memory_sizes_bytes() -> dict[str, int]:
    """What Linux says of its memory by name, e.g. MemTotal and MemAvailable; {} on another system."""
    return _sizes_bytes("/proc/meminfo")


def peak_memory_bytes() -> int:
    """The most memory that this process has had in use; 0 where the system is not Linux."""
    return _sizes_bytes("/proc/self/status").get("VmHWM", 0)


def _sizes_bytes(file: str) -> dict[str, int]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
