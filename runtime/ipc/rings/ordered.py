"""An ordered ring: one writer, one reader; every message arrives once and in order, or is counted as lost.

The writer owns `written`, the reader owns `taken`. A message becomes visible only when `written` increases, so a writer
that is killed in the middle of a message leaves nothing behind, and its successor continues at the same place.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.rings.memory import CACHE_LINE, SharedBlock, aligned, fence

_WRITTEN, _LOST, _TAKEN = 0, 1, CACHE_LINE // 8  # the reader's word is on its own cache line


class OrderedRing:
    """The ring, in the process that created it or in another that attached to it. Picklable while a child is spawned.

    Args:
        dtype: numpy dtype of one message.
        capacity: number of messages; when it is full, the writer drops its message and counts it.
    """

    def __init__(self, dtype: np.dtype, capacity: int, purpose: str = "ring", name: str | None = None) -> None:
        if capacity < 1:
            raise BadInputError(f"ring {purpose!r}: capacity {capacity}; expected at least 1")
        self.dtype = np.dtype(dtype)
        self.capacity = capacity
        self.purpose = purpose
        size = self.bytes_of(dtype, capacity)
        self._block = SharedBlock.create(size, purpose) if name is None else SharedBlock.attach(name, size)
        starts = [2 * CACHE_LINE + i * aligned(self.dtype.itemsize) for i in range(capacity)]
        self._records = [np.frombuffer(self._block.memory, self.dtype, 1, start)[0] for start in starts]

    @staticmethod
    def bytes_of(dtype: np.dtype, capacity: int, purpose: str = "") -> int:
        """Shared memory that a ring made with these arguments takes."""
        return 2 * CACHE_LINE + capacity * aligned(np.dtype(dtype).itemsize)

    def __reduce__(self) -> tuple:
        return type(self), (self.dtype, self.capacity, self.purpose, self._block.name)

    @property
    def lost(self) -> int:
        """Messages that the writer dropped because the ring was full."""
        return self._block.words[_LOST]

    @property
    def waiting(self) -> int:
        """Messages written and not yet taken."""
        return self._block.words[_WRITTEN] - self._block.words[_TAKEN]

    def begin(self) -> np.void | None:
        """The buffer to fill, which `commit` publishes; None if the ring is full, which counts as a loss."""
        words = self._block.words
        written = words[_WRITTEN]
        if written - words[_TAKEN] >= self.capacity:
            words[_LOST] = words[_LOST] + 1
            return None
        fence()
        return self._records[written % self.capacity]

    def commit(self) -> None:
        """Publishes the buffer that `begin` returned."""
        fence()
        self._block.words[_WRITTEN] = self._block.words[_WRITTEN] + 1

    def take_into(self, out: np.ndarray) -> bool:
        """Copies the oldest message not yet taken into `out`, (1,) of the ring's dtype; False if there is none."""
        words = self._block.words
        taken = words[_TAKEN]
        if words[_WRITTEN] == taken:
            return False
        fence()
        out[0] = self._records[taken % self.capacity]
        fence()
        words[_TAKEN] = taken + 1
        return True

    def close(self) -> None:
        """Unmaps the ring, and removes it in the process that created it. May be called twice."""
        self._records.clear()
        self._block.close()
