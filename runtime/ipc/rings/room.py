"""The room that the system has for shared memory: how much is free, and whether a run fits.

On Linux it is the file system /dev/shm. A block that is only mapped takes none of it until it is written to, and a
write without room ends the process with SIGBUS; so blocks are reserved when they are made, and a run is checked as a
whole before anything starts.
"""

from __future__ import annotations

import os
from pathlib import Path

from vpp_edge.errors import BadInputError

ROOM = Path("/dev/shm")
MIB = 1024**2
REMEDY = "in a container: docker run --shm-size=1g; elsewhere: sudo mount -o remount,size=1g /dev/shm"


def free_bytes(room: Path = ROOM) -> int | None:
    """Bytes that blocks can still take; None where the system does not say."""
    try:
        system = os.statvfs(room)
    except OSError:
        return None
    return system.f_bavail * system.f_frsize if system.f_blocks else None  # a tmpfs of size 0 has no limit


def check_room(needed_bytes: int, purpose: str, room: Path = ROOM) -> None:
    """Raises BadInputError, with the remedy, unless `needed_bytes` of shared memory are free."""
    free = free_bytes(room)
    if free is not None and free < needed_bytes:
        raise BadInputError(too_little(needed_bytes, purpose, room))


def too_little(needed_bytes: int, purpose: str, room: Path = ROOM) -> str:
    """The sentence that says how much is needed, how much there is, and what to do."""
    free = free_bytes(room)
    there = "less than that" if free is None else f"{free / MIB:.1f} MiB"
    return f"{purpose} needs {needed_bytes / MIB:.1f} MiB of shared memory, and {room} has {there} free; {REMEDY}"
