"""Options that choose who does many independent pieces of work: processes here, or a Ray cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from vpp_edge.cli.notes import print_note
from vpp_edge.cli.numbers import Number
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import GPUS, PROCESSES, THREADS

if TYPE_CHECKING:
    from vpp_edge.executor.interface import Executor


def add_executor_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --processes and --ray; `default` is what the help says of leaving both out."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--processes", type=Number(PROCESSES), metavar="N", help=f"parallel processes ({default})")
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="use the Ray cluster at this HOST:PORT; auto: the one that this machine has joined",
    )


def add_worker_threads_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --worker-threads, for work whose single pieces are long."""
    parser.add_argument(
        "--worker-threads", type=Number(THREADS), metavar="N", help="CPU threads of each process or Ray worker (1)"
    )


def add_worker_gpus_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --worker-gpus, for work that uses a GPU where it sees one."""
    parser.add_argument("--worker-gpus", type=Number(GPUS), metavar="N", help="GPUs of each Ray worker (0)")


def executor_from_arguments(arguments: argparse.Namespace) -> Executor | None:
    """The executor that was chosen; None if none was.

    Raises:
        BadInputError: --ray is no address, or there are threads or GPUs for workers that there are not.
        MissingDependencyError: Ray is not installed.
    """
    threads, gpus = getattr(arguments, "worker_threads", None), getattr(arguments, "worker_gpus", None)
    if arguments.ray is not None:
        from vpp_edge.executor.ray_cluster import RayCluster

        return RayCluster(arguments.ray, threads=threads or 1, gpus=gpus or 0, note=print_note)
    if gpus is not None:
        raise BadInputError("--worker-gpus is for the workers of --ray")
    if arguments.processes is not None:
        from vpp_edge.executor.processes import Processes

        return Processes(arguments.processes, threads=threads or 1)
    if threads is not None:
        raise BadInputError("--worker-threads is for the workers of --processes or --ray; choose one of them")
    return None
