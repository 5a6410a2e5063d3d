"""What a node of a Ray cluster is asked to open: the work, and what the node must have for it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable

from vpp_edge.errors import BadInputError
from vpp_edge.executor.alike import contents, differences, versions
from vpp_edge.executor.interface import Needs, Work
from vpp_edge.runtime.ipc.child_process import THREAD_VARIABLES


def order_for(open_work: Callable[..., Work], arguments: tuple, needs: Needs) -> bytes:
    """The work, to be opened on nodes with the versions and files of this machine.

    Raises:
        BadInputError: a file that is needed cannot be read here.
    """
    return pickle.dumps((versions(), contents(needs.files), pickle.dumps((open_work, arguments))))


def opened(order: bytes, node: str, threads: int) -> Work:
    """Opens the work on this node.

    Raises:
        VppEdgeError: the node has other versions or files, or the work cannot be opened.
    """
    wanted_versions, wanted_contents, work = pickle.loads(order)
    difference = differences(f"node {node}", wanted_versions, wanted_contents)
    if difference is not None:
        raise BadInputError(difference)
    os.environ.update({name: str(threads) for name in THREAD_VARIABLES})  # before the work imports the libraries
    open_work, arguments = pickle.loads(work)
    return open_work(*arguments)
