"""A child process of an executor: started with a connection to it, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from vpp_edge.errors import VppEdgeError
from vpp_edge.runtime.ipc.child_process import exit_cause
from vpp_edge.runtime.ipc.real_time import die_with_parent, leave_signals_to_parent


class Child:
    """One process that runs `body(connection, *arguments)` and dies with this one.

    Args:
        name: in errors, e.g. `a worker process`.
    """

    def __init__(self, body: Callable[..., None], arguments: tuple, name: str) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_run, args=(os.getpid(), body, theirs, *arguments), name=f"vpp-edge: {name}", daemon=True
        )
        self._process.start()
        theirs.close()

    def received(self) -> Any:
        """What it sends next.

        Raises:
            VppEdgeError: it died instead.
        """
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(5.0)
            cause = exit_cause(self._process.exitcode)
            raise VppEdgeError(f"{self.name} {cause}; the work is incomplete") from error

    def end(self, grace_s: float = 0.0) -> None:
        """Ends it, if it still runs; it is told to stop `grace_s` before it is killed."""
        self.connection.close()
        if grace_s:
            self._process.terminate()
            self._process.join(grace_s)
        self._process.kill()
        self._process.join()


def _run(parent_pid: int, body: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    leave_signals_to_parent()
    die_with_parent(parent_pid)
    try:
        body(connection, *arguments)
    except (EOFError, BrokenPipeError):  # the parent closed the connection
        return


@contextmanager
def no_interrupt_in_children() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal; children started inside never see it, not even while importing."""
    resource_tracker.ensure_running()  # otherwise it starts with the first child and unblocks signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
