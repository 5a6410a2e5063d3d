"""The process that is connected to a Ray cluster, for one piece of work after another.

A process of its own, because Ray replaces signal handlers, writes to standard output, makes its workers import from the
working directory, and ends the process when the cluster's head is gone.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

from vpp_edge.errors import BadInputError
from vpp_edge.executor.answers import DONE, answer_of
from vpp_edge.executor.ray_handing import ANSWER, Handing, Place

OVER = "over"
CONNECT_S = 5.0


def drive(connection: Connection, address: str, place: Place, order: bytes, pieces: list[int]) -> None:
    """Body of the process: sends the messages of `Handing`, and (OVER, None) when it has left the cluster."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    os.chdir("/")
    kind, value = answer_of(_send_messages, connection, address, partial(Handing, place, order, pieces))
    connection.send((OVER, None) if kind == DONE else (ANSWER, (None, pickle.dumps((kind, value)))))


def _send_messages(connection: Connection, address: str, new_handing: Callable[[], Handing]) -> None:
    import ray

    _connect(address)
    try:
        for message in new_handing().messages():
            connection.send(message)
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray

    host, _, port = address.rpartition(":")
    try:
        if host:  # Ray itself would try for two minutes
            socket.create_connection((host, int(port)), CONNECT_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:  # other versions of Ray or Python are a RuntimeError
        raise BadInputError(
            f"--ray {address}: {error}. This machine must be a node of the cluster: `ray start --address=HOST:PORT` "
            "joins it, `ray status` shows what runs"
        ) from error
