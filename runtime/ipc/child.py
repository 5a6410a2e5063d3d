"""The child processes of a run: started, watched, restarted with growing pauses, and ended without exception."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection

from vpp_edge.runtime.ipc.channels import ENDED, RUNNING, STARTING, WORKING, read_note
from vpp_edge.runtime.ipc.real_time import on_cpus
from vpp_edge.runtime.ipc.rings import Board, NewestSlot

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FIRST_PAUSE_NS = 100_000_000
LONGEST_PAUSE_NS = 5_000_000_000
CALM_NS = 30_000_000_000  # a child that lived this long starts over with the shortest pause
BAD_INPUT_STATUS = 2


@dataclass(frozen=True)
class ChildSettings:
    """How a child is watched.

    Attributes:
        name: in reports, e.g. `camera static`.
        threads: what numerical libraries in the child may use.
        silent_ns: without a heartbeat for so long (after it first ran) it hangs and is killed; None: never.
        open_ns: the same before it first ran, while it opens its device; None: never.
        restart: whether it comes back after it died.
        failures: how often it may fail by itself, each time within CALM_NS of its start, before it is given up; None:
            as often as it likes. Being killed, from outside or because it hung, is no failure.
        cpus: the cores that it may use; None: all.
        end_ns: how long it may take to end by itself when told to stop.
    """

    name: str
    threads: int = 1
    silent_ns: int | None = None
    open_ns: int | None = None
    restart: bool = True
    failures: int | None = None
    cpus: frozenset[int] | None = None
    end_ns: int = 3_000_000_000


class Child:
    """One child process. `body(generation)` gives target and arguments, new for every start."""

    def __init__(
        self, settings: ChildSettings, body: Callable[[int], tuple[Callable, tuple]], board: Board, note: NewestSlot
    ) -> None:
        self.settings, self._body, self._board, self._note = settings, body, board, note
        self._process: multiprocessing.process.BaseProcess | None = None
        self.generation = 0
        self.deaths: list[str] = []
        self._started_ns = self._again_ns = 0
        self._pause_ns, self._failures = FIRST_PAUSE_NS, 0
        self.given_up = False
        self.finished = False  # by itself, with nothing wrong

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def sentinel(self) -> int | None:
        """What becomes ready when the process dies; None while it is not running."""
        return None if self._process is None else self._process.sentinel

    @property
    def phase(self) -> int:
        return self._board["phase"]

    @property
    def note(self) -> str:
        return read_note(self._note)

    def start(self) -> None:
        self._board["phase"], self._board["heartbeat_ns"] = STARTING, 0
        target, arguments = self._body(self.generation)
        process = multiprocessing.get_context("spawn").Process(
            target=target, args=(os.getpid(), *arguments), name=f"vpp-edge {self.name}", daemon=True
        )
        with threads_of_children(self.settings.threads), on_cpus(self.settings.cpus):
            process.start()
        self._process, self._started_ns = process, time.monotonic_ns()
        self.generation += 1

    def watch(self, now_ns: int) -> str | None:
        """Kills it when it hangs, starts it again when its pause is over; a sentence when it has just died."""
        if self._process is None:
            if not self.given_up and self.generation and now_ns >= self._again_ns:
                self.start()
            return None
        if self._process.is_alive():
            if self._hangs(now_ns):
                self._process.kill()
                self._process.join(1.0)
                return self._bury(now_ns, "hung and was killed")
            return None
        self._process.join()
        return self._bury(now_ns, cause_of_end(self._process.exitcode))

    def _hangs(self, now_ns: int) -> bool:
        running = self.phase in (RUNNING, WORKING)
        longest_ns = self.settings.silent_ns if running else self.settings.open_ns
        since_ns = self._board["heartbeat_ns"] if running else self._started_ns
        return longest_ns is not None and now_ns - since_ns > longest_ns

    def _bury(self, now_ns: int, cause: str) -> str:
        process, self._process = self._process, None
        self._board["phase"] = ENDED
        hopeless = process is not None and process.exitcode == BAD_INPUT_STATUS
        self.finished = process is not None and process.exitcode == 0
        if now_ns - self._started_ns > CALM_NS:
            self._pause_ns, self._failures = FIRST_PAUSE_NS, 0
        self._failures += process is not None and (process.exitcode or 0) > 0
        too_often = self.settings.failures is not None and self._failures >= self.settings.failures
        self.given_up = hopeless or too_often or self.finished or not self.settings.restart
        self._again_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
        if self.finished:
            return f"{self.name}: {self.note or 'ended by itself'}"
        note = f" ({self.note.splitlines()[0]})" if self.note and cause != "was killed" else ""
        self.deaths.append(f"{self.name} {cause}{note}")
        return self.deaths[-1]

    def end(self, deadline_ns: int) -> None:
        """Waits for it to end by itself until the deadline, then ends it. It has been told to stop before."""
        process, self._process, self.given_up = self._process, None, True
        if process is None:
            return
        process.join(max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9))
        for force in (process.terminate, process.kill):
            if process.is_alive():
                force()
                process.join(1.0)


def end_children(children: list[Child]) -> None:
    """Ends every child that still runs, the recorder after its last frames. They have been told to stop."""
    now_ns = time.monotonic_ns()
    for child in children:
        child.end(now_ns + child.settings.end_ns)


def wait_for_a_death(children: list[Child], timeout_s: float) -> None:
    """Returns after `timeout_s`, or as soon as one of the children dies."""
    sentinels = [child.sentinel for child in children if child.sentinel is not None]
    if sentinels:
        connection.wait(sentinels, timeout_s)
    else:
        time.sleep(timeout_s)


def cause_of_end(status: int | None) -> str:
    if status is None or status == 0:
        return "ended by itself"
    return (
        "was killed" if status == -9 else f"died of signal {-status}" if status < 0 else f"failed with status {status}"
    )


@contextlib.contextmanager
def threads_of_children(threads: int) -> Iterator[None]:
    """Children started inside inherit the limit; their libraries read it while they are imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update({name: str(threads) for name in THREAD_VARIABLES})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
