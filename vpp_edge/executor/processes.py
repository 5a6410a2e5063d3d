"""Distribute numbered pieces of work over processes.

Results do not depend on the number of processes. No process is left behind, however the work ends; a worker that fails
or dies ends the work with its reason.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from vpp_edge.errors import BadInputError, VppEdgeError
from vpp_edge.runtime.ipc.child_process import exit_cause, thread_limit
from vpp_edge.runtime.ipc.real_time import die_with_parent, leave_signals_to_parent

Work = Callable[[int], Any]
READY, DONE, REFUSED, FAILED = "ready", "done", "refused", "failed"


def results_in_any_order(
    open_work: Callable[..., Work], arguments: tuple, pieces: int, processes: int
) -> Iterator[tuple[int, Any]]:
    """(number, result) of every piece 0 to `pieces` - 1, in the order of completion.

    Args:
        open_work: called once per process with `arguments`; returns the function that is called with numbers. Must
            be importable from a module, because the processes import it.
        processes: number of processes, each with one thread for its numerical libraries.

    Raises:
        VppEdgeError: a worker raised it, or a worker died.
    """
    waiting, left = iter(range(pieces)), pieces
    workers: dict[Connection, BaseProcess] = {}
    try:
        with thread_limit(1), _no_interrupt_in_children():
            for _ in range(min(processes, pieces)):
                connection, process = _start(open_work, arguments)
                workers[connection] = process
        while left:
            ready = wait(list(workers))
            for connection in [each for each in workers if each in ready]:
                kind, value = _received(connection, workers[connection])
                if kind == DONE:
                    left -= 1
                    yield value
                if (number := next(waiting, None)) is not None:
                    with suppress(ConnectionError):  # it died, which is reported when its connection is read next
                        connection.send(number)
    finally:
        for connection, process in workers.items():
            connection.close()
            process.kill()
            process.join()


def _start(open_work: Callable[..., Work], arguments: tuple) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(os.getpid(), theirs, open_work, arguments), name="vpp-edge worker", daemon=True
    )
    process.start()
    theirs.close()
    return ours, process


def _received(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        kind, value = connection.recv()
    except (EOFError, ConnectionError) as error:
        process.join(5.0)
        raise VppEdgeError(f"a worker process {exit_cause(process.exitcode)}; the work is incomplete") from error
    if kind == REFUSED:
        text, status = value
        raise (BadInputError if status == BadInputError.exit_status else VppEdgeError)(text)
    if kind == FAILED:
        raise VppEdgeError(f"a worker process failed; the work is incomplete:\n{value}")
    return kind, value


def _serve(parent_pid: int, connection: Connection, open_work: Callable[..., Work], arguments: tuple) -> None:
    """Body of a worker process."""
    leave_signals_to_parent()
    die_with_parent(parent_pid)
    with suppress(EOFError, BrokenPipeError):  # the parent closed the connection
        try:
            work = open_work(*arguments)
            connection.send((READY, None))
            while True:
                number = connection.recv()
                connection.send((DONE, (number, work(number))))
        except VppEdgeError as error:
            connection.send((REFUSED, (str(error), error.exit_status)))
        except (EOFError, BrokenPipeError):
            raise
        except Exception:  # noqa: BLE001 - only the parent can report it to the user
            connection.send((FAILED, traceback.format_exc()))


@contextmanager
def _no_interrupt_in_children() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal; children started inside never see it, not even while importing."""
    resource_tracker.ensure_running()  # otherwise it starts with the first child and unblocks signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
