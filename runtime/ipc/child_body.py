"""The frame around the body of every child process: signals, death with its parent, and how it reports errors."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator

from vpp_edge.errors import VppEdgeError
from vpp_edge.machine_limits import limit_behind
from vpp_edge.runtime.ipc.codecs import write_note
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.ipc.real_time import die_with_parent, leave_signals_to_parent
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot


@contextlib.contextmanager
def child_body(parent_pid: int, board: Board, note: NewestSlot) -> Iterator[None]:
    """Runs the body of a child process; leaves what went wrong in `note` and in the exit status.

    Status 0: done; 1: failed and worth another try; 2: can never work with its present settings.
    """
    leave_signals_to_parent()
    die_with_parent(parent_pid)
    board["phase"], board["pid"] = Phase.OPENING, os.getpid()
    board["heartbeat_ns"] = time.monotonic_ns()
    try:
        yield
    except VppEdgeError as error:
        write_note(note, str(error))
        sys.exit(error.exit_status)
    except Exception as error:  # noqa: BLE001 - the note is the only way in which a child can report to its parent
        found = f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}"
        write_note(note, limit_behind(error) or found)
        sys.exit(1)
