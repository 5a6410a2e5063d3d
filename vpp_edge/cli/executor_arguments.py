"""Options that choose who does many independent pieces of work: processes here, or a Ray cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vpp_edge.cli.notes import print_note
from vpp_edge.cli.numbers import Number
from vpp_edge.executor.interface import PROCESSES

if TYPE_CHECKING:
    from vpp_edge.executor.interface import Executor


def add_executor_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --processes and --ray; `default` is what the help says of leaving both out."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--processes", type=Number(PROCESSES), metavar="N", help=f"parallel processes ({default})")
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="use the Ray cluster with this HOST:PORT, or the one that this machine has joined (auto)",
    )


def executor_from_arguments(arguments: argparse.Namespace, threads: int = 1) -> Executor | None:
    """The executor that was chosen, with so many threads in each worker; None if none was.

    Raises:
        BadInputError: --ray is no address.
        MissingDependencyError: Ray is not installed.
    """
    if arguments.ray is not None:
        from vpp_edge.executor.ray_cluster import RayCluster

        return RayCluster(arguments.ray, threads=threads, note=print_note)
    if arguments.processes is not None:
        from vpp_edge.executor.processes import Processes

        return Processes(arguments.processes, threads=threads)
    return None
