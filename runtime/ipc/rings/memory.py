"""A block of shared memory, as 64-bit words and bytes that several processes see.

Blocks live in `multiprocessing.shared_memory`. The creator unlinks; a process that attaches only closes. Children
started by `multiprocessing` share their parent's resource tracker, so a block is removed even when the whole process
tree is killed with SIGKILL.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import sys
import threading
from multiprocessing import shared_memory
from typing import cast

from vpp_edge.errors import BadInputError
from vpp_edge.machine_limits import limit_behind
from vpp_edge.runtime.ipc.rings.room import ROOM, too_little

CACHE_LINE = 64
_count = itertools.count()


def fence() -> None:
    """Orders every memory access before it against every one after it, on Arm too.

    Python has no memory barrier. Releasing a lock (store-release) and taking it again (load-acquire) on the same
    address is one: Armv8 keeps a store-release before a later load-acquire, and x86 needs nothing here.
    """
    lock = threading.Lock()
    lock.acquire()
    lock.release()
    lock.acquire()
    lock.release()


def aligned(size_bytes: int) -> int:
    """`size_bytes` rounded up to whole cache lines, so that two fields with different writers share none."""
    return -(-size_bytes // CACHE_LINE) * CACHE_LINE


class _Mapping(shared_memory.SharedMemory):
    """A mapping that an array may outlive: it is then unmapped with that array, without a warning at exit."""

    def __del__(self) -> None:
        with contextlib.suppress(BufferError, OSError):
            self.close()


def _reserve(block: _Mapping) -> None:
    """Takes the block's memory now. Raises OSError; without this the first write to it would end the process."""
    if not hasattr(os, "posix_fallocate") or not ROOM.is_dir():
        return
    descriptor = os.open(ROOM / block.name, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, 0, block.size)
    finally:
        os.close(descriptor)


def _refusal(error: OSError, size_bytes: int, purpose: str) -> str:
    if error.errno in (errno.ENOSPC, errno.ENOMEM):
        return too_little(size_bytes, f"channel {purpose!r} of this run")
    return f"channel {purpose!r} of this run: {limit_behind(error) or f'no shared memory ({error})'}"


class SharedBlock:
    """A named block of zeroed shared memory.

    Attributes:
        name: what another process attaches with.
        words: the block as unsigned 64-bit words; an aligned word is read and written atomically.
        memory: the block as bytes.
    """

    def __init__(self, block: _Mapping, owner: bool) -> None:
        self._block = block
        self._owner = owner
        self.name = block.name
        self.memory = cast(memoryview, block.buf)  # None only after close
        self.words = self.memory[: len(self.memory) // 8 * 8].cast("Q")

    @classmethod
    def create(cls, size_bytes: int, purpose: str) -> SharedBlock:
        """A new block, with its memory reserved; `purpose` becomes part of its name in /dev/shm.

        Raises:
            BadInputError: the system has too little shared memory, or refuses the block for another reason.
        """
        name = f"vppe-{os.getpid()}-{next(_count)}-{purpose[:12]}-{secrets.token_hex(3)}"
        try:
            block = _Mapping(name=name, create=True, size=aligned(size_bytes))
            try:
                _reserve(block)
            except BaseException:
                block.close()
                block.unlink()
                raise
        except OSError as error:
            raise BadInputError(_refusal(error, size_bytes, purpose)) from error
        return cls(block, owner=True)

    @classmethod
    def attach(cls, name: str, size_bytes: int) -> SharedBlock:
        """The block that another process created.

        Raises:
            BadInputError: it does not exist, or is smaller than `size_bytes`.
        """
        try:
            if sys.version_info >= (3, 13):
                block = _Mapping(name=name, track=False)
            else:  # registers again with the tracker that parent and child share, to no effect
                block = _Mapping(name=name)
        except FileNotFoundError as error:
            raise BadInputError(
                f"shared memory {name!r} does not exist any more; the process that owned it has ended"
            ) from error
        if block.size < size_bytes:
            held = block.size
            block.close()
            raise BadInputError(f"shared memory {name!r} holds {held} bytes, expected at least {size_bytes}")
        return cls(block, owner=False)

    def close(self) -> None:
        """Unmaps the block, and removes it where this process created it. May be called twice."""
        self.words.release()
        with contextlib.suppress(BufferError):
            self._block.close()
        if self._owner:
            self._owner = False
            with contextlib.suppress(FileNotFoundError):
                self._block.unlink()
