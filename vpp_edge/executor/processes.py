"""The executor that uses processes of this machine.

No process is left behind, however the work ends; a worker that fails or dies ends the work with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.executor.answers import DONE, answer_of, result_of
from vpp_edge.executor.child import Child, no_interrupt_in_children
from vpp_edge.executor.interface import NOTHING, PROCESSES, THREADS, Needs, Work
from vpp_edge.machine_limits import memory_sizes_bytes
from vpp_edge.runtime.ipc.child_process import thread_limit
from vpp_edge.runtime.ipc.real_time import usable_cpus
from vpp_edge.wording import counted


@dataclass(frozen=True)
class Processes:
    """An `Executor` of `count` processes.

    Attributes:
        count: None: one per core that this process may use.
        threads: of the numerical libraries in each; with another number, sums may round differently.
    """

    count: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.count is not None:
            PROCESSES.check("processes", self.count)
        THREADS.check("threads", self.threads)

    def results(
        self, open_work: Callable[..., Work], arguments: tuple, pieces: Iterable[int], needs: Needs = NOTHING
    ) -> Iterator[tuple[int, Any]]:
        """As `Executor.results`.

        Raises:
            VppEdgeError: also when a process died.
        """
        numbers = list(pieces)
        waiting, left = iter(numbers), len(numbers)
        count = min(self.count or len(usable_cpus()), left)
        _check_memory(count, needs.memory_bytes)
        workers: dict[Connection, Child] = {}
        try:
            with thread_limit(self.threads), no_interrupt_in_children():
                for _ in range(count):
                    child = Child(_serve, (open_work, arguments), "a worker process")
                    workers[child.connection] = child
            while left:
                ready = wait(list(workers))
                for connection in [each for each in workers if each in ready]:
                    number, answer = workers[connection].received()
                    result = result_of(answer, "a worker process")
                    if number is not None:
                        left -= 1
                        yield number, result
                    if (number := next(waiting, None)) is not None:
                        with suppress(ConnectionError):  # it died, which is reported when its connection is read next
                            connection.send(number)
        finally:
            for child in workers.values():
                child.end()


def _serve(connection: Connection, open_work: Callable[..., Work], arguments: tuple) -> None:
    """Body of a worker process: sends (None, answer) when it is open, then (number, answer) for every number."""
    kind, work = answer_of(open_work, *arguments)
    connection.send((None, (kind, None if kind == DONE else work)))
    while kind == DONE:
        number = connection.recv()
        connection.send((number, answer_of(work, number)))


def _check_memory(count: int, each_bytes: int) -> None:
    """Raises BadInputError if so many processes need more memory than is free."""
    free = memory_sizes_bytes().get("MemAvailable")
    if free is not None and count * each_bytes > free:
        fitting, gib = free // each_bytes, 2**30
        raise BadInputError(
            f"{counted(count, 'process', 'processes')} would take {each_bytes / gib:.1f} GiB of memory each, and "
            f"{free / gib:.1f} GiB are free; " + (f"use --processes {fitting}" if fitting else "use a larger machine")
        )
