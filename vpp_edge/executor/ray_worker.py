"""The worker on a node of a Ray cluster: opens the work once, then does pieces of it.

Ray is given this class by value, so that it can say that vpp-edge is missing on a node: the file imports nothing of
ours outside its functions.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from typing import Any


class Worker:
    """Every answer is a pickled `answers.Answer`, with which the cluster's own libraries have nothing to do."""

    def open(self, order: bytes, threads: int) -> tuple[str, bytes]:
        """Opens the work; returns the name of the node and the answer.

        Args:
            order: as `ray_order.order_for` writes it.
            threads: of the numerical libraries.
        """
        node = socket.gethostname()
        try:
            from vpp_edge.executor.answers import DONE, answer_of
            from vpp_edge.executor.ray_order import opened
        except ImportError as error:
            return node, pickle.dumps(("refused", (f"node {node} has no such vpp-edge ({error}); install it there", 2)))
        self._answer_of: Callable[..., Any] = answer_of
        kind, value = answer_of(opened, order, node, threads)
        self._work = value
        return node, pickle.dumps((kind, None if kind == DONE else value))

    def do(self, number: int) -> bytes:
        """Does one piece."""
        return pickle.dumps(self._answer_of(self._work, number))
