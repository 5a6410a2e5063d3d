"""SmoothQuant (arXiv 2211.10438, section 4): scale channels of a graph so that it loses less accuracy in INT8.

Input channels that are much larger than the others are divided by a factor and the weights multiplied by it, which
changes no result. The paper does this for Linears; convolutions benefit too, because their inputs also have one scale.
Products that share an input or a weight share their factors: `act` runs the same decoder in each of its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import Product
from vpp_edge.export.precision.graph_edits import add_initializer, describe, insert_after


@dataclass(frozen=True)
class SmoothingGroup:
    """Products that must share their factors.

    Attributes:
        name: name of the first input, the key in a StageTable.
        nodes: names of the nodes.
        inputs: names of their input tensors.
        axis: axis of the channels, -1 or 1.
    """

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    axis: int


def smoothing_groups(products: Iterable[Product]) -> list[SmoothingGroup]:
    """The products with weights that may run in INT8, joined where they share an input or a weight."""
    groups: list[list[Product]] = []
    for product in products:
        if product.channels is None or product.reason:
            continue
        shared = [g for g in groups if any(_share(product, other) for other in g)]
        groups = [g for g in groups if g not in shared] + [[p for g in shared for p in g] + [product]]
    return [
        SmoothingGroup(
            name=group[0].activations[0],
            nodes=tuple(p.node for p in group),
            inputs=tuple(dict.fromkeys(p.activations[0] for p in group)),
            axis=group[0].channels or 0,
        )
        for group in groups
    ]


def _share(a: Product, b: Product) -> bool:
    return a.channels == b.channels and (a.weight == b.weight or a.activations == b.activations)


def input_channel_maxima(model: Any, group: SmoothingGroup) -> np.ndarray:
    """(C,) largest magnitude of a group's weights per input channel."""
    nodes = {n.name: n for n in model.graph}
    maxima = []
    for name in group.nodes:
        weight = nodes[name].inputs[1].const_value.numpy()
        kept = _input_axis(nodes[name])
        maxima.append(np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != kept)))
    return np.asarray(np.max(maxima, axis=0))


def smooth_graph(model: Any, groups: Iterable[SmoothingGroup], factors: Mapping[str, np.ndarray]) -> None:
    """Divides inputs and multiplies weights in place; a LayerNorm that only these Linears read absorbs the division.

    Args:
        model: onnx_ir.Model in float32.
        factors: (C,) by name of the group; groups without factors stay unchanged.
    """
    nodes = {n.name: n for n in model.graph}
    for group in groups:
        if group.name in factors:
            factor = np.asarray(factors[group.name], np.float32)
            members = [nodes[n] for n in group.nodes]
            for value in {node.inputs[0] for node in members}:
                _divide(model.graph, value=value, factor=factor, axis=group.axis, members=members)
            for weight, axis in {(node.inputs[1], _input_axis(node)) for node in members}:
                array = weight.const_value.numpy()
                array = array * factor.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
                smoothed = add_initializer(model.graph, f"{weight.name}/smooth", array)
                for node in members:
                    if node.inputs[1] is weight:
                        node.replace_input_with(1, smoothed)


def _input_axis(node: Any) -> int:
    """The axis of the weight that belongs to the input's channels."""
    if node.op_type == "Conv":
        return 1
    return 1 if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) else 0


def _divide(graph: Any, value: Any, factor: np.ndarray, axis: int, members: list[Any]) -> None:
    """In the LayerNorm that computes the input if only these products read it, otherwise in a separate node."""
    import onnx_ir as ir

    norm = value.producer()
    alone = all(use.node in members for use in value.uses()) and not value.is_graph_output()
    if norm is not None and norm.op_type == "LayerNormalization" and alone:
        for i, parameter in enumerate(norm.inputs[1:], start=1):
            if parameter is not None:
                array = parameter.const_value.numpy() / factor
                norm.replace_input_with(i, add_initializer(graph, f"{value.name}/smooth/{i}", array))
        return
    name = f"{value.name}/smooth"
    inverse = (1 / factor).reshape([-1, *[1] * (len(value.shape) - 2)] if axis == 1 else [-1])
    node = ir.node("Mul", [value, add_initializer(graph, f"{name}/factor", inverse)], name=name)
    describe(node.outputs[0], name, value.shape, value.dtype)
    for use in list(value.uses()):
        if use.node in members:
            use.node.replace_input_with(use.idx, node.outputs[0])
    insert_after(graph, value, [node])
