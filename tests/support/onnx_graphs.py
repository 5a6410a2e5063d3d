"""Small ONNX graphs for tests: in, nodes and shapes; out, a model without weights, as the cost model reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

Shapes = Mapping[str, Sequence[int]]


def model(
    nodes: Sequence[Any], inputs: Shapes, outputs: Shapes, weights: Shapes | None = None, inner: Shapes | None = None
) -> Any:
    """A model of float tensors; `weights` have shapes and no content, `inner` are stated shapes of other tensors."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [_value(name, shape) for name, shape in inputs.items()],
        [_value(name, shape) for name, shape in outputs.items()],
        [TensorProto(name=n, data_type=TensorProto.FLOAT, dims=list(s)) for n, s in (weights or {}).items()],
        value_info=[_value(name, shape) for name, shape in (inner or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node; names of tensors are separated by spaces."""
    return onnx.helper.make_node(op, inputs.split(), outputs.split(), name=f"node_{outputs.split()[0]}", **attributes)


def _value(name: str, shape: Sequence[int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
