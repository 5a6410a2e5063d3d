"""Detects within one control period that the policy process has died, cheaply enough to check in every period.

The kernel reaps a killed process only after it has released its memory, which takes tens of milliseconds, and longer
with a GPU context. But /proc shows at once that the process has no memory left (proc_pid_statm(5)).
"""

from __future__ import annotations

import contextlib
import os

from vpp_edge.runtime.ipc.rings.board import Board


class Liveness:
    """Watches the process whose number is in `pid` of a board; without /proc it reports nothing."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._pid = 0
        self._file: int | None = None

    def lost(self) -> bool:
        """Whether the process has died since the last call; True once per process. Takes a few microseconds."""
        pid = self._board["pid"]
        if pid != self._pid:
            self._follow(pid)
        if self._file is None:
            return False
        try:
            alive = os.pread(self._file, 2, 0) != b"0 "
        except OSError:  # already reaped
            alive = False
        if not alive:
            self.close()
        return not alive

    def _follow(self, pid: int) -> None:
        self.close()
        self._pid = pid
        with contextlib.suppress(OSError):
            self._file = os.open(f"/proc/{pid}/statm", os.O_RDONLY)

    def close(self) -> None:
        """Stops watching the present process."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
