"""A board of named 64-bit counters, such as heartbeats and totals: one process writes, all others may read."""

from __future__ import annotations

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.rings.memory import SharedBlock, aligned


class Board:
    """Non-negative integers by name, each read and written atomically. Picklable while a child is spawned."""

    def __init__(self, fields: tuple[str, ...], purpose: str = "board", name: str | None = None) -> None:
        if not fields or len(set(fields)) != len(fields):
            raise BadInputError(f"board {purpose!r}: fields {fields}; expected at least one, without duplicates")
        self.fields = tuple(fields)
        self.purpose = purpose
        self._places = {field: i for i, field in enumerate(self.fields)}
        size = self.bytes_of(self.fields)
        self._block = SharedBlock.create(size, purpose) if name is None else SharedBlock.attach(name, size)

    @staticmethod
    def bytes_of(fields: tuple[str, ...], purpose: str = "") -> int:
        """Shared memory that a board made with these arguments takes."""
        return aligned(8 * len(fields))

    def __reduce__(self) -> tuple:
        return type(self), (self.fields, self.purpose, self._block.name)

    def __getitem__(self, field: str) -> int:
        return self._block.words[self._places[field]]

    def __setitem__(self, field: str, value: int) -> None:
        self._block.words[self._places[field]] = value

    def add(self, field: str, amount: int = 1) -> None:
        """Adds to a counter; only for the process that writes the board."""
        self[field] = self[field] + amount

    def as_dict(self) -> dict[str, int]:
        return {field: self[field] for field in self.fields}

    def close(self) -> None:
        """Unmaps the board, and removes it in the process that created it. May be called twice."""
        self._block.close()
