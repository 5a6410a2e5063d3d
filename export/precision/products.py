"""Matrix products of a float32 graph: which can run in INT8, and the reason for those that should not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from vpp_edge.bundle.quantization import Product
from vpp_edge.export.precision.graph_edits import add_initializer

# A product computed from these inputs alone is nearly constant: once per instruction, on twenty tokens.
_CONDITION = frozenset({"text_hidden"})
_EDGE_CHANNELS = 4  # of images (3) and latents (4): the first and last convolutions
_OPS = frozenset({"Conv", "Gemm", "MatMul"})


def fold_transposed_weights(model: Any) -> None:
    """Replaces `Transpose(weight)` by a transposed weight, in place; the exporter leaves them to the engines."""
    import onnx_ir as ir

    graph, folded = model.graph, {}
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "Transpose" else None
        if source is None or not source.is_initializer() or len(source.shape) != 2:
            continue
        name = f"{source.name}.T"
        if name not in folded:
            folded[name] = add_initializer(graph, name, source.const_value.numpy().T.copy())
        ir.convenience.replace_all_uses_with(node.outputs[0], folded[name])
        graph.remove(node, safe=True)
        if not source.uses():
            graph.initializers.pop(source.name)


def products_of_graph(model: Any) -> list[Product]:
    """Every product, in the order of the graph.

    Args:
        model: onnx_ir.Model with static shapes.
    """
    varying = _values_from([v for v in model.graph.inputs if v.name not in _CONDITION])
    nodes = [n for n in model.graph if n.op_type in _OPS]
    paths = [_path(n) for n in nodes]
    products = []
    for i, node in enumerate(nodes):
        operands = list(node.inputs[:2])
        constants = [v for v in operands if v.is_initializer()]
        weight = constants[0] if constants else None
        products.append(
            Product(
                node=node.name,
                layer=".".join(paths[i] or [*_between(paths, i), "attend" if weight is None else node.name]),
                macs=_macs(node),
                activations=tuple(v.name for v in operands if v is not weight),
                weight=None if weight is None else weight.name,
                channels=_channels(node, weight),
                reason=_reason(node, weight, varying),
            )
        )
    return products


def _values_from(values: Iterable[Any]) -> set[Any]:
    """The values and everything computed from them."""
    found, front = set(values), list(values)
    while front:
        for use in front.pop().uses():
            new = [v for v in use.node.outputs if v not in found]
            found.update(new)
            front += new
    return found


def _reason(node: Any, weight: Any, varying: set[Any]) -> str:
    if node.outputs[0] not in varying:
        return "computed from the instruction alone"
    if weight is None or len(weight.shape) == 2:
        return ""
    if node.op_type != "Conv":
        return "batched weights"
    channels = min(weight.shape[0], weight.shape[1])
    return "first or last convolution" if channels <= _EDGE_CHANNELS else ""


def _channels(node: Any, weight: Any) -> int | None:
    if weight is None or weight is not node.inputs[1]:
        return None
    if node.op_type == "Conv":
        return 1 if node.attributes.get_int("group", 1) == 1 else None
    return -1 if len(weight.shape) == 2 else None


def _macs(node: Any) -> int:
    results = math.prod(node.outputs[0].shape)
    weight = node.inputs[1].shape
    if node.op_type == "Conv":
        return results * math.prod(weight[1:])
    transposed = node.op_type == "Gemm" and node.attributes.get_int("transB", 0)
    return results * (weight[-1] if transposed else weight[-2])


def _path(node: Any) -> list[str] | None:
    """The module of the node's weight, or of the bias added after it if the exporter lost the weight's name."""
    if not any(v.is_initializer() for v in node.inputs[:2]):
        return None
    added = [v for use in node.outputs[0].uses() if use.node.op_type == "Add" for v in use.node.inputs]
    names = [str(v.name) for v in (*node.inputs[:2], *added) if v.is_initializer() and "." in v.name]
    return names[0].removesuffix("/smooth").removesuffix(".T").split(".")[:-1] if names else None


def _between(paths: Sequence[list[str] | None], index: int) -> list[str]:
    """The common part of the paths before and after: the exporter keeps the order of the program."""
    before = next((p for p in reversed(paths[:index]) if p is not None), [])
    after = next((p for p in paths[index:] if p is not None), [])
    return [b for b, _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))]
