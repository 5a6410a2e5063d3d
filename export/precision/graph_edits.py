"""Edits of onnx_ir graphs that the conversions of this folder share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def add_initializer(graph: Any, name: str, array: np.ndarray) -> Any:
    """A new constant of the graph, with the dtype and shape of the array."""
    import onnx_ir as ir

    made = ir.Value(
        name=name,
        const_value=ir.tensor(array, name=name),
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
    )
    graph.register_initializer(made)
    return made


def describe(value: Any, name: str, shape: Any, dtype: Any) -> None:
    """Sets name, shape and element type of a value."""
    import onnx_ir as ir

    value.name, value.shape, value.type = name, shape, ir.TensorType(dtype)


def insert_after(graph: Any, value: Any, nodes: Sequence[Any]) -> None:
    """Inserts nodes after the node that computes `value`; first in the graph if `value` is an input."""
    producer = value.producer()
    if producer is None:
        graph.insert_before(next(iter(graph)), nodes)
    else:
        graph.insert_after(producer, nodes)


def drop_unused_initializers(graph: Any) -> None:
    """Removes constants that neither a node nor an output uses."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
