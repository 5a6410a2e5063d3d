"""A child process as its parent sees it: started, watched, restarted with growing pauses, and ended for certain."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection

from vpp_edge.machine_limits import limit_behind
from vpp_edge.runtime.ipc.codecs import read_note
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.ipc.real_time import on_cpus
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FIRST_PAUSE_NS = 100_000_000
LONGEST_PAUSE_NS = 5_000_000_000
STABLE_NS = 30_000_000_000  # a child that lived this long is restarted with the shortest pause again
BAD_INPUT_STATUS = 2


@dataclass(frozen=True)
class ChildSettings:
    """How a child is watched.

    Attributes:
        name: in reports, e.g. `camera static`.
        threads: limit for numerical libraries in the child.
        silent_ns: longest time without a heartbeat once it runs; then it counts as hung and is killed. None: no limit.
        open_ns: the same while it opens its device; None: no limit.
        restart: whether it is started again after it died.
        failures: how many times it may fail by itself, each within STABLE_NS of its start, before it is given up; None:
            no limit. Being killed, from outside or because it hung, does not count.
        cpus: the cores that it may use; None: all.
        end_ns: how long it may take to end after it was told to stop.
    """

    name: str
    threads: int = 1
    silent_ns: int | None = None
    open_ns: int | None = None
    restart: bool = True
    failures: int | None = None
    cpus: frozenset[int] | None = None
    end_ns: int = 3_000_000_000


class ChildProcess:
    """One child process.

    Args:
        body: from the generation (0, 1, ...) the target and its arguments; called for every start.

    Attributes:
        generation: number of starts so far.
        deaths: why it died, one sentence for each time.
        given_up: it is not started again.
        finished: it ended by itself with status 0.
    """

    def __init__(
        self, settings: ChildSettings, body: Callable[[int], tuple[Callable, tuple]], board: Board, note: NewestSlot
    ) -> None:
        self.settings, self._body, self._board, self._note = settings, body, board, note
        self._process: multiprocessing.process.BaseProcess | None = None
        self.generation = 0
        self.deaths: list[str] = []
        self.given_up = False
        self.finished = False
        self._started_ns = self._restart_at_ns = 0
        self._pause_ns, self._failures = FIRST_PAUSE_NS, 0

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def sentinel(self) -> int | None:
        """Becomes ready when the process dies (multiprocessing.connection.wait); None while it is not running."""
        return None if self._process is None else self._process.sentinel

    @property
    def phase(self) -> Phase:
        return Phase(self._board["phase"])

    @property
    def note(self) -> str:
        """The last message that the child left."""
        return read_note(self._note)

    def start(self) -> None:
        self._board["phase"], self._board["heartbeat_ns"] = Phase.STARTING, 0
        target, arguments = self._body(self.generation)
        process = multiprocessing.get_context("spawn").Process(
            target=target, args=(os.getpid(), *arguments), name=f"vpp-edge {self.name}", daemon=True
        )
        with thread_limit(self.settings.threads), on_cpus(self.settings.cpus):
            process.start()
        self._process, self._started_ns = process, time.monotonic_ns()
        self.generation += 1

    def watch(self, now_ns: int) -> str | None:
        """Kills the process when it hangs, restarts it when its pause is over; a sentence when it has just died."""
        if self._process is None:
            if not self.given_up and self.generation and now_ns >= self._restart_at_ns:
                return self._start_again(now_ns)
            return None
        if self._process.is_alive():
            if self._hangs(now_ns):
                self._process.kill()
                self._process.join(1.0)
                return self._note_death(now_ns, "hung and was killed")
            return None
        self._process.join()
        return self._note_death(now_ns, exit_cause(self._process.exitcode))

    def _start_again(self, now_ns: int) -> str | None:
        """Starts the process once more; where the system refuses another process now, later."""
        try:
            self.start()
        except (OSError, RuntimeError) as error:
            if (limit := limit_behind(error)) is None:
                raise
            return self._note_death(now_ns, f"could not be started: {limit}", told=False)
        return None

    def _hangs(self, now_ns: int) -> bool:
        ready = self.phase.ready
        limit_ns = self.settings.silent_ns if ready else self.settings.open_ns
        since_ns = self._board["heartbeat_ns"] if ready else self._started_ns
        return limit_ns is not None and now_ns - since_ns > limit_ns

    def _note_death(self, now_ns: int, cause: str, told: bool = True) -> str:
        """Decides whether and when the process is started again; `told`: it may have left a note on the cause."""
        status = None if self._process is None else self._process.exitcode
        self._process = None
        self._board["phase"] = Phase.ENDED
        if now_ns - self._started_ns > STABLE_NS:
            self._pause_ns, self._failures = FIRST_PAUSE_NS, 0
        self._failures += (status or 0) > 0
        self.finished = status == 0
        too_often = self.settings.failures is not None and self._failures >= self.settings.failures
        self.given_up = status == BAD_INPUT_STATUS or too_often or self.finished or not self.settings.restart
        self._restart_at_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
        if self.finished:
            return f"{self.name}: {self.note or 'ended by itself'}"
        note = f" ({self.note.splitlines()[0]})" if told and self.note and cause != "was killed" else ""
        self.deaths.append(f"{self.name} {cause}{note}")
        return self.deaths[-1]

    def end(self, deadline_ns: int) -> None:
        """Waits until the deadline for the process to end by itself, then ends it. Tell it to stop before."""
        process, self._process, self.given_up = self._process, None, True
        if process is None:
            return
        process.join(max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9))
        for force in (process.terminate, process.kill):
            if process.is_alive():
                force()
                process.join(1.0)


def end_children(children: list[ChildProcess]) -> None:
    """Ends every child that still runs, the recorder after its last frames. Tell them to stop before."""
    now_ns = time.monotonic_ns()
    for child in children:
        child.end(now_ns + child.settings.end_ns)


def wait_for_exit(children: list[ChildProcess], timeout_s: float) -> None:
    """Returns after `timeout_s`, or as soon as one of the children exits."""
    sentinels = [child.sentinel for child in children if child.sentinel is not None]
    if sentinels:
        connection.wait(sentinels, timeout_s)
    else:
        time.sleep(timeout_s)


def exit_cause(status: int | None) -> str:
    """An exit status of `multiprocessing`, as the end of a sentence."""
    if status is None or status == 0:
        return "ended by itself"
    if status == -9:
        return "was killed"
    return f"died of signal {-status}" if status < 0 else f"failed with status {status}"


@contextlib.contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Limits the threads of numerical libraries in child processes started inside, by environment variables."""
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
