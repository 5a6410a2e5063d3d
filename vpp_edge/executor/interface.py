"""What an executor offers: numbered pieces of independent work, done by workers anywhere. Imports no numpy.

Implementations: `processes.Processes` on this machine, `ray_cluster.RayCluster` on many. Results are the same on all of
them if a piece depends on its number and the arguments only: draw its randomness from a seed and its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vpp_edge.number_range import whole

Work = Callable[[int], Any]
"""Does one piece, named by its number, and returns what can be pickled."""

PROCESSES = whole(1, 1024)
THREADS = whole(1, 1024)
GPUS = whole(0, 64)


@dataclass(frozen=True)
class Needs:
    """What every worker needs.

    Attributes:
        files: absolute paths of files and folders that the work reads.
        memory_bytes: of one worker; 0: too little to count.
    """

    files: tuple[Path, ...] = ()
    memory_bytes: int = 0


NOTHING = Needs()


class Executor(Protocol):
    """Does pieces of work that do not depend on each other."""

    @property
    def threads(self) -> int:
        """Of the numerical libraries in each worker."""

    def results(
        self, open_work: Callable[..., Work], arguments: tuple, pieces: Iterable[int], needs: Needs = NOTHING
    ) -> Iterator[tuple[int, Any]]:
        """(number, result) of every piece, each once, in the order of completion.

        Args:
            open_work: called once per worker with `arguments`; returns the function that is called with numbers. A
                function of a module, which workers import.
            pieces: their numbers, all different.

        Raises:
            VppEdgeError: the work raised it (text and exit status are kept), a worker failed otherwise, or the workers'
                needs are not met.
        """
