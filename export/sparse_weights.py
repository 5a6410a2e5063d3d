"""Which products of a graph have 2:4 sparse weights: in, an ONNX model; out, the nodes that sparse kernels can run.

A weight is 2:4 sparse if of every 4 consecutive inputs of an output at most 2 are not zero, at each position of a
kernel on its own. That is what TensorRT looks for when it may use sparse kernels (NVIDIA TensorRT documentation,
"Sparsity"); it has none for convolutions in groups (github.com/NVIDIA/TensorRT/issues/4054).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GROUP, KEPT = 4, 2
_BLOCK = 1 << 20  # numbers that are looked at before a weight can be given up
_SAME = frozenset({"Cast", "DequantizeLinear", "Identity"})  # zeros stay where they are


def is_two_of_four(weight: np.ndarray, axis: int) -> bool:
    """Whether of each 4 consecutive numbers along `axis` at most 2 are not zero; False where 4 do not divide it."""
    shape = weight.shape
    if shape[axis] % GROUP:
        return False
    groups = weight.reshape(*shape[:axis], -1, GROUP, *shape[axis + 1 :])
    rows = max(1, _BLOCK * len(groups) // max(1, weight.size))
    return all(
        np.count_nonzero(groups[start : start + rows], axis=axis + 1).max(initial=0) <= KEPT
        for start in range(0, len(groups), rows)
    )


def sparse_products(model: Any, folder: Path) -> frozenset[int]:
    """Indices of the nodes whose weights are 2:4 sparse.

    Args:
        model: onnx.ModelProto without functions of its own, its external data not loaded.
        folder: of the external data, which is mapped and read only as far as a weight looks sparse.
    """
    from onnx_ir import serde

    initializers = {i.name: i for i in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    known: dict[tuple[str, int], bool] = {}
    found = set()
    for index, node in enumerate(model.graph.node):
        weight = _weight(node, makers, initializers)
        if weight is None:
            continue
        if weight not in known:
            name, axis = weight
            known[weight] = is_two_of_four(serde.deserialize_tensor(initializers[name], folder).numpy(), axis)
        if known[weight]:
            found.add(index)
    return frozenset(found)


def _weight(node: Any, makers: Mapping[str, Any], initializers: Mapping[str, Any]) -> tuple[str, int] | None:
    """The initializer that a product multiplies with, and the axis of it that is summed over."""
    attributes = {a.name: a for a in node.attribute}
    axes = {}
    if node.op_type == "Conv" and ("group" not in attributes or attributes["group"].i == 1):
        axes = {1: 1}
    elif node.op_type == "MatMul":
        axes = {0: 1, 1: 0}
    elif node.op_type == "Gemm":
        transposed = [name in attributes and attributes[name].i == 1 for name in ("transA", "transB")]
        axes = {0: 0 if transposed[0] else 1, 1: 1 if transposed[1] else 0}
    for position, axis in axes.items():
        name = node.input[position]
        while name in makers and (makers[name].op_type in _SAME or makers[name].op_type == "Transpose"):
            if makers[name].op_type == "Transpose":
                order = next((list(a.ints) for a in makers[name].attribute if a.name == "perm"), [1, 0])
                axis = order[axis]
            name = makers[name].input[0]
        if name in initializers and (node.op_type == "Conv" or len(initializers[name].dims) == 2):
            return name, axis
    return None
