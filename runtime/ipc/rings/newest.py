"""A newest-wins slot: one writer publishes messages, any number of readers take the latest, and no one waits.

It is a sequence lock over `depth` buffers. The writer marks a buffer as begun, fills it, marks it as complete and only
then publishes its number; the next message goes to the next buffer, so that a reader has the time of `depth - 1`
messages to copy. A reader copies, then checks that the buffer was not begun again; a torn copy is discarded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.rings.memory import CACHE_LINE, SharedBlock, aligned, fence

T = TypeVar("T")
ATTEMPTS = 8  # a reader that is overtaken this often is too slow for the depth, and gets nothing
_BEGUN, _COMPLETE, _STAMP = range(3)  # words of a buffer's header


@dataclass(frozen=True)
class Message(Generic[T]):
    """A message as a reader copied it.

    Attributes:
        value: the result of the reader's copy function.
        sequence: number of the message, from 1; a gap counts the messages that were missed.
        stamp_ns: monotonic time set by the writer.
    """

    value: T
    sequence: int
    stamp_ns: int


class NewestSlot:
    """The slot, in the process that created it or in another that attached to it. Picklable while a child is spawned.

    Args:
        dtype: numpy dtype of one message, usually structured.
        depth: buffers; 3 for newest-wins, more to look up the message closest to a time (`read_at`).
    """

    def __init__(self, dtype: np.dtype, depth: int = 3, purpose: str = "slot", name: str | None = None) -> None:
        if depth < 2:
            raise BadInputError(f"slot {purpose!r}: depth {depth}; expected at least 2")
        self.dtype = np.dtype(dtype)
        self.depth = depth
        self.purpose = purpose
        size = self.bytes_of(dtype, depth)
        self._block = SharedBlock.create(size, purpose) if name is None else SharedBlock.attach(name, size)
        starts = [CACHE_LINE + i * _stride(self.dtype) for i in range(depth)]
        self._headers = [start // 8 for start in starts]
        memory = self._block.memory
        self._records = [np.frombuffer(memory, self.dtype, 1, start + CACHE_LINE)[0] for start in starts]
        self._pending = 0

    @staticmethod
    def bytes_of(dtype: np.dtype, depth: int = 3, purpose: str = "") -> int:
        """Shared memory that a slot made with these arguments takes."""
        return CACHE_LINE + depth * _stride(np.dtype(dtype))

    def __reduce__(self) -> tuple:
        return type(self), (self.dtype, self.depth, self.purpose, self._block.name)

    @property
    def sequence(self) -> int:
        """Number of messages published so far."""
        return self._block.words[0]

    def begin(self) -> np.void:
        """The buffer to fill, whose fields are views into shared memory; `commit` makes it the newest message.

        A writer that replaces a killed one restarts the message that was left half-written.
        """
        self._pending = self._block.words[0] + 1
        index = self._pending % self.depth
        self._block.words[self._headers[index] + _BEGUN] = self._pending
        fence()
        return self._records[index]

    def commit(self, stamp_ns: int) -> int:
        """Publishes the buffer that `begin` returned; returns its sequence number."""
        words, header = self._block.words, self._headers[self._pending % self.depth]
        words[header + _STAMP] = stamp_ns
        fence()
        words[header + _COMPLETE] = self._pending
        fence()
        words[0] = self._pending
        return self._pending

    def write(self, stamp_ns: int, **fields: Any) -> int:
        """Publishes a message from all its fields by name; returns its sequence number.

        Raises:
            BadInputError: a field is missing or unknown, or its shape differs from the dtype's (numpy would broadcast).
        """
        if set(fields) != set(self.dtype.names or ()):
            raise BadInputError(f"slot {self.purpose!r}: fields {sorted(fields)}, expected {self.dtype.names}")
        for name, value in fields.items():
            if np.shape(value) != self.dtype[name].shape:
                expected = self.dtype[name].shape
                raise BadInputError(f"slot {self.purpose!r}: {name} has shape {np.shape(value)}, expected {expected}")
        record = self.begin()
        for name, value in fields.items():
            record[name] = value
        return self.commit(stamp_ns)

    def read(self, copy: Callable[[np.void], T], newer_than: int = 0) -> Message[T] | None:
        """The newest message with a sequence above `newer_than`, or None.

        Args:
            copy: copies what it needs out of the buffer. It may see a half-written message, so it must not trust
                lengths in it; its result is then discarded and it is called again.
        """
        for _ in range(ATTEMPTS):
            sequence = self._block.words[0]
            if sequence <= newer_than:
                return None
            message = self._copy(sequence, copy)
            if message is not None:
                return message
        return None

    def read_numbered(self, sequence: int, copy: Callable[[np.void], T]) -> Message[T] | None:
        """The message with this sequence number; None if it is not there yet or already overwritten."""
        return self._copy(sequence, copy) if 0 < sequence <= self.sequence else None

    def read_at(self, stamp_ns: int, copy: Callable[[np.void], T]) -> Message[T] | None:
        """The one of the last `depth - 1` messages whose stamp is closest to `stamp_ns`, or None."""
        for _ in range(ATTEMPTS):
            newest = self._block.words[0]
            best, best_distance = 0, 0
            for sequence in range(max(1, newest - self.depth + 2), newest + 1):
                stamp = self._block.words[self._headers[sequence % self.depth] + _STAMP]
                if not best or abs(stamp - stamp_ns) < best_distance:
                    best, best_distance = sequence, abs(stamp - stamp_ns)
            if not best:
                return None
            message = self._copy(best, copy)
            if message is not None:
                return message
        return None

    def _copy(self, sequence: int, copy: Callable[[np.void], T]) -> Message[T] | None:
        words, index = self._block.words, sequence % self.depth
        header = self._headers[index]
        fence()
        if words[header + _COMPLETE] != sequence:
            return None
        stamp_ns = words[header + _STAMP]
        value = copy(self._records[index])
        fence()
        if words[header + _BEGUN] != sequence:
            return None
        return Message(value, sequence, stamp_ns)

    def close(self) -> None:
        """Unmaps the slot, and removes it in the process that created it. May be called twice."""
        self._records.clear()
        self._block.close()


def _stride(dtype: np.dtype) -> int:
    """Bytes from one buffer to the next: a header and a message."""
    return CACHE_LINE + aligned(dtype.itemsize)
