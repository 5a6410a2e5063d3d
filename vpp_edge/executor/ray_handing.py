"""Which worker of a Ray cluster does which piece; the piece of a worker that was lost is handed to another."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError, VppEdgeError
from vpp_edge.executor import ray_worker

ANSWER, NOTE = "answer", "note"
LOSSES = 3  # of its worker, after which a piece is given up
QUIET_S = 10.0  # without an answer for so long, see whether any node is left
_DETAIL, _SHOWN = "Worker exit detail: ", 300  # the end of what Ray says of a dead worker, and how much of it is told


@dataclass(frozen=True)
class Place:
    """What a worker takes of a node; without GPUs, Ray hides those of the node from it."""

    cpus: int
    memory_bytes: int
    gpus: int = 0

    def __str__(self) -> str:
        parts = [f"{self.cpus} CPU"]
        parts += [f"{self.gpus} GPU"] if self.gpus else []
        parts += [f"{self.memory_bytes / 2**30:.1f} GiB"] if self.memory_bytes else []
        return " and ".join(parts)

    def fitting(self, resources: dict[str, float]) -> int:
        """How many workers fit a node with these resources."""
        fitting = resources.get("CPU", 0.0) // self.cpus
        if self.memory_bytes:
            fitting = min(fitting, resources.get("memory", 0.0) // self.memory_bytes)
        if self.gpus:
            fitting = min(fitting, resources.get("GPU", 0.0) // self.gpus)
        return int(fitting)


class Handing:
    """Hands pieces to workers until all are done. Ray must be connected.

    Args:
        place: of one worker. order: of `ray_order.order_for`. pieces: numbers.
    """

    def __init__(self, place: Place, order: bytes, pieces: list[int]) -> None:
        import ray
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(ray_worker)
        self._ray, self._place, self._order = ray, place, ray.put(order)
        memory = {"memory": place.memory_bytes} if place.memory_bytes else {}
        remote = ray.remote(num_cpus=place.cpus, num_gpus=place.gpus, max_restarts=0, **memory)
        self._new_worker = remote(ray_worker.Worker).remote
        self._waiting = deque(pieces)
        self._running: dict[Any, tuple[Any, int | None]] = {}  # by answer to come: worker, piece; None while it opens
        self._node_of: dict[Any, str] = {}
        self._losses: Counter[int | None] = Counter()

    def messages(self) -> Iterator[tuple[str, Any]]:
        """(ANSWER, (number, pickled answer)) once per piece, with None as number per worker; (NOTE, text) of a loss.

        Raises:
            VppEdgeError: a piece lost its worker too often, or no node has room for a worker.
        """
        self._open_workers()
        while self._running:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=QUIET_S)
            if not ready:
                self._room()
            for reference in ready:
                worker, number = self._running.pop(reference)
                try:
                    answer = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:  # what the work itself raises is in its answer
                    yield NOTE, self._lose(worker, number, _cause(error))
                    continue
                if number is None:
                    self._node_of[worker], answer = answer
                    self._losses[None] = 0
                yield ANSWER, (number, answer)
                self._hand_next(worker)
            if not self._waiting and all(number is None for _, number in self._running.values()):
                return  # the others only wait for a free place

    def _open_workers(self) -> None:
        """Opens as many workers as there are places for, and no more than there are pieces for."""
        working = sum(number is not None for _, number in self._running.values())
        for _ in range(min(self._room(), len(self._waiting) + working) - len(self._running)):
            worker = self._new_worker()
            self._running[worker.open.remote(self._order, self._place.cpus)] = worker, None

    def _room(self) -> int:
        """How many workers fit the nodes that live.

        Raises:
            BadInputError: none.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(map(self._place.fitting, nodes))
        if not room:
            raise BadInputError(f"no node of the cluster has {self._place} for a worker; see `ray status`")
        return room

    def _hand_next(self, worker: Any) -> None:
        if self._waiting:
            number = self._waiting.popleft()
            self._running[worker.do.remote(number)] = worker, number
        else:
            self._ray.kill(worker)

    def _lose(self, worker: Any, number: int | None, cause: str) -> str:
        """Puts the piece of a lost worker first in the queue, for another worker; what happened."""
        self._ray.kill(worker)  # it may live, and only be out of reach
        where = f"the worker on node {self._node_of[worker]}" if worker in self._node_of else "a worker"
        when = "before its first piece" if number is None else f"in piece {number}"
        text = f"{where} was lost {when} ({cause})"
        self._losses[number] += 1
        if self._losses[number] >= LOSSES * (self._room() if number is None else 1):
            raise VppEdgeError(f"{text}, as {self._losses[number] - 1} before it; the work is incomplete")
        if number is not None:
            self._waiting.appendleft(number)
        self._open_workers()
        return f"{text}; another one takes over"


def _cause(error: Exception) -> str:
    """Why a worker was lost, in the first sentences of what Ray says of it."""
    text = " ".join(str(error).split()).rpartition(_DETAIL)[2]
    return (text if len(text) <= _SHOWN else text[:_SHOWN].rpartition(". ")[0]).rstrip(" .")
