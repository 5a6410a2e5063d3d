"""The executor that uses a Ray cluster: workers on every node, and a lost one costs only the piece it was doing."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.executor.answers import result_of
from vpp_edge.executor.child import Child, no_interrupt_in_children
from vpp_edge.executor.interface import GPUS, NOTHING, THREADS, Needs, Work
from vpp_edge.executor.ray_driver import ANSWER, OVER, drive
from vpp_edge.executor.ray_handing import NOTE, Place
from vpp_edge.executor.ray_order import order_for
from vpp_edge.installing import is_installed, pip_install

AUTO = "auto"  # Ray's own word for the cluster that this machine has joined
_ADDRESS = re.compile(r"[^:/\s]+:[0-9]{1,5}")
_LEAVE_S = 5.0


def ignore_note(text: str) -> None:
    """The note that nobody reads."""


@dataclass(frozen=True)
class RayCluster:
    """An `Executor` of as many workers as fit a Ray cluster of which this machine is a node.

    Attributes:
        address: HOST:PORT of the cluster's head, or AUTO.
        threads: CPUs of a worker, and threads of its numerical libraries; with another number, sums may round
            differently.
        gpus: of a worker.
        note: called with a sentence for every worker that was lost.

    Raises:
        BadInputError: the address is none.
        MissingDependencyError: Ray is not installed.
    """

    address: str
    threads: int = 1
    gpus: int = 0
    note: Callable[[str], None] = ignore_note

    def __post_init__(self) -> None:
        THREADS.check("threads", self.threads)
        GPUS.check("gpus", self.gpus)
        if self.address != AUTO and not _ADDRESS.fullmatch(self.address):
            raise BadInputError(
                f"--ray {self.address}: expected HOST:PORT of the cluster's head, or {AUTO} for the cluster that this "
                "machine has joined"
            )
        if not is_installed("ray"):
            raise MissingDependencyError("ray", "--ray", pip_install("ray"))

    def results(
        self, open_work: Callable[..., Work], arguments: tuple, pieces: Iterable[int], needs: Needs = NOTHING
    ) -> Iterator[tuple[int, Any]]:
        """As `Executor.results`.

        Raises:
            BadInputError: also when the cluster cannot be reached, or a node has other versions or files.
            VppEdgeError: also when the cluster is lost, or the same piece loses its worker again and again.
        """
        numbers = list(pieces)
        if not numbers:
            return
        place = Place(cpus=self.threads, memory_bytes=needs.memory_bytes, gpus=self.gpus)
        order = order_for(open_work, arguments, needs)
        with no_interrupt_in_children():
            driver = Child(drive, (self.address, place, order, numbers), f"the connection to Ray at {self.address}")
        try:
            while (message := driver.received())[0] != OVER:
                kind, value = message
                if kind == NOTE:
                    self.note(value)
                elif kind == ANSWER:
                    number, answer = value
                    result = result_of(pickle.loads(answer), "a worker of the Ray cluster")
                    if number is not None:
                        yield number, result
        finally:
            driver.end(_LEAVE_S)
