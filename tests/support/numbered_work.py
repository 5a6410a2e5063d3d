"""Work for the processes of an executor: functions of a module, which other processes can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from vpp_edge.errors import BadInputError

# Prints the ids of its two workers, then waits to be interrupted.
INTERRUPTED = """
import multiprocessing, sys
import numbered_work as work
from vpp_edge.executor.processes import Processes

if __name__ == "__main__":
    try:
        for _ in Processes(2).results(work.open_sleeping, (60.0,), range(4)):
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def open_squares(offset: int) -> Callable[[int], int]:
    return lambda number: number * number + offset


def open_environment(name: str) -> Callable[[int], str | None]:
    return lambda number: os.environ.get(name)


def open_refused() -> Callable[[int], int]:
    raise BadInputError("no such thing")


def open_failing() -> Callable[[int], float]:
    return lambda number: 1 / (number - number)


def open_killed() -> Callable[[int], None]:
    return lambda number: os.kill(os.getpid(), signal.SIGKILL)


def open_leaving() -> Callable[[int], None]:
    return lambda number: os._exit(7)


def open_sleeping(seconds: float) -> Callable[[int], None]:
    """The first piece is done at once, the others take their time."""
    return lambda number: time.sleep(seconds if number else 0)


def open_killed_once(marker: Path) -> Callable[[int], int]:
    """Piece 2 kills its worker the first time."""

    def work(number: int) -> int:
        if number == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number

    return work


def open_process_id(seconds: float) -> Callable[[int], int]:
    """As `open_sleeping`, and returns the id of the process."""

    def work(number: int) -> int:
        time.sleep(seconds if number else 0)
        return os.getpid()

    return work
