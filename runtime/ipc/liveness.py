"""Whether the policy process still lives, asked in every period: in, its process number; out, the moment it is lost.

A killed process is reaped only after the kernel has taken its memory apart, which takes tens of milliseconds and longer
with a GPU's context. But it has no memory of its own from the first moment on, and /proc tells (proc_pid_statm(5)).
"""

from __future__ import annotations

import contextlib
import os

from vpp_edge.runtime.ipc.rings import Board


class Pulse:
    """Watches the process whose number is in `pid` of a board; where there is no /proc, none is ever lost."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._pid = 0
        self._file: int | None = None

    def lost(self) -> bool:
        """Whether it has died since the last question; True once for each process. Takes a few microseconds."""
        pid = self._board["pid"]
        if pid != self._pid:
            self._follow(pid)
        if self._file is None:
            return False
        try:
            alive = os.pread(self._file, 2, 0) != b"0 "
        except OSError:  # reaped
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
        """Asks no more about the present process."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
