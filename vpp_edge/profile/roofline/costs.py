"""Predict the time of every kernel of a graph on a device at a precision: a floor and an expected time.

The floor is a lower bound for any engine with these kernels (Williams et al. 2009, the roofline model): the longest of
products at peak rate (twice the dense one where weights are 2:4 sparse), elementwise work, and bytes at full bandwidth,
with each activation and weight read once and each result written once per kernel. Data that a cache keeps from one
kernel to the next (Orin: 4 MB) is not credited. The prediction divides each by a measured efficiency. Nothing here is
measured on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vpp_edge.bundle.work import CONSTANT, MATRIX, PART, VIEW, VIEWS, Graph, Node
from vpp_edge.profile.roofline.accelerators import (
    BANDWIDTH,
    EFFICIENCIES,
    KERNEL_S,
    SPARSE,
    SPARSE_CHANNELS,
    VECTOR,
    Device,
)
from vpp_edge.profile.roofline.fusion import Group, groups_from_graph, sources_of
from vpp_edge.profile.roofline.layers import layer_names

COMPUTE, VECTORS, MEMORY_BOUND, KERNEL = "compute", "vector", "memory", "kernel"
SPARSITIES = ENABLE, DISABLE, FORCE = "enable", "disable", "force"
_REAL_BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 2.0}
_MIN_INT8_CHANNELS = 32


@dataclass(frozen=True)
class Cost:
    """The cost of one kernel.

    Attributes:
        layer: path of its module.
        precision: of its products: `fp32`, `fp16` or `int8`.
        sparse: its weights are 2:4 sparse. The floor is then that of a sparse kernel.
        matrix_operations, vector_operations: as in `Node`.
        weight_bytes, activation_bytes: read and written in memory.
        floor_s, predicted_s: seconds on the device.
        bound: the longest part of the prediction: `compute`, `vector`, `memory`, or `kernel` (the minimum time of a
            kernel).
    """

    layer: str
    kind: str
    precision: str
    sparse: bool
    matrix_operations: int
    vector_operations: int
    weight_bytes: float
    activation_bytes: float
    floor_s: float
    predicted_s: float
    bound: str


def costs_of_graph(graph: Graph, device: Device, precision: str) -> tuple[Cost, ...]:
    """Every kernel of a graph at a precision, independent of the precision it was exported with."""
    groups = groups_from_graph(graph)
    int8 = int8_nodes(graph) if precision == "int8" else frozenset()
    sizes = _element_bytes(graph, precision, int8)
    return tuple(
        _cost(group, layer=layer, device=device, precision=precision, int8=int8, sizes=sizes, graph=graph)
        for group, layer in zip(groups, layer_names(graph, groups), strict=True)
    )


def int8_nodes(graph: Graph) -> frozenset[int]:
    """Indices of the nodes that are assumed to run in INT8.

    In a graph with QuantizeLinear these are the products whose operands both come from a DequantizeLinear. In any other
    graph it is every Conv, Gemm and MatMul with weights and at least 32 channels in and out: the first and last
    convolutions (3, 4 and 8 channels) and the products with actions and states stay in FP16, because their few channels
    fill no INT8 tile. Products of activations (attention), norms, softmax and embeddings stay in FP16 too.
    """
    if graph.quantized:
        dequantized = {o for n in graph.nodes if n.op == "DequantizeLinear" for o in n.outputs}
        for node in graph.nodes:
            if node.op in VIEWS and node.inputs[0] in dequantized:
                dequantized.update(node.outputs)
        return frozenset(n.index for n in graph.nodes if n.kind == MATRIX and dequantized.issuperset(n.inputs[:2]))
    return frozenset(n.index for n in graph.nodes if n.kind == MATRIX and _fills_int8(n, graph))


def with_sparsity(graph: Graph, sparsity: str) -> Graph:
    """The graph for one of SPARSITIES, named as in trtexec.

    `enable`: weights are sparse where the bundle's are; `disable`: none are; `force`: all are that fill an INT8 tile,
    which says what training them sparse can gain.
    """
    if sparsity == ENABLE:
        return graph
    forced = (n.index for n in graph.nodes if n.kind == MATRIX and _fills_int8(n, graph))
    return replace(graph, sparse=frozenset(forced if sparsity == FORCE else ()))


def _fills_int8(node: Node, graph: Graph) -> bool:
    return _channels(node, graph) >= _MIN_INT8_CHANNELS


def _channels(node: Node, graph: Graph) -> int:
    """The smaller number of channels, in or out, of a product with weights; 0 for other products."""
    weights = [name for name in node.inputs[:2] if name in graph.constants and name in graph.tensors]
    if node.op not in ("Conv", "Gemm", "MatMul") or len(weights) != 1:
        return 0
    shape = graph.tensors[weights[0]].shape
    return min(shape[:2] if node.op == "Conv" else shape[-2:]) if len(shape) > 1 else 0


def _element_bytes(graph: Graph, precision: str, int8: frozenset[int]) -> Mapping[str, float]:
    """Bytes of one element of every tensor that kernels read or write.

    In INT8, weights of INT8 products take one byte, and so does an activation that only INT8 products read as an
    operand: the kernel that computes it rounds it on writing. All other real numbers, inputs too, take two.
    """
    sources = sources_of(graph)
    narrow: set[str] = set(graph.constants)
    wide: set[str] = set(graph.outputs)
    for node in graph.nodes:
        narrow.update(node.outputs)
        if node.kind in (CONSTANT, VIEW, PART):
            continue
        for position, name in enumerate(node.inputs):
            if node.index not in int8 or position > 1:
                wide.update(sources[name].tensors if name in sources else (name,))
    wide.update(s for name in graph.outputs if name in sources for s in sources[name].tensors)
    sizes = {}
    for name, tensor in graph.tensors.items():
        real = 1.0 if int8 and name in narrow and name not in wide else _REAL_BYTES[precision]
        sizes[name] = real if tensor.floating else tensor.element_bytes
    return sizes


def _cost(
    group: Group,
    layer: str,
    device: Device,
    precision: str,
    int8: frozenset[int],
    sizes: Mapping[str, float],
    graph: Graph,
) -> Cost:
    product = "fp16" if precision == "int8" else precision
    if any(n.index in int8 for n in group.nodes):
        product = "int8"
    sparse = [n for n in group.nodes if n.index in graph.sparse] if product != "fp32" else []
    weight_bytes = sum(elements * sizes.get(name, 0.0) for name, elements in group.weights.items())
    if sparse:  # half of the numbers, each with its place among four in two bits
        weight_bytes = weight_bytes / 2 + sum(group.weights.values()) / 8
    moved = (*group.reads.items(), *group.writes.items())
    activation_bytes = sum(elements * sizes[name] for name, elements in moved)
    matrix_s = group.matrix_operations / (device.sparse_tops(product) if sparse else device.tops(product)) / 1e12
    vector_s = group.vector_operations / (device.vector_tops * 1e12)
    memory_s = (weight_bytes + activation_bytes) / (device.bandwidth_gb_s * 1e9)
    used = EFFICIENCIES.get((group.kind, product))
    share = (used.share if used else 1.0) * (_share_of_sparse_peak(sparse, graph) if sparse else 1.0)
    expected = {
        COMPUTE: matrix_s / share if used else 0.0,
        VECTORS: vector_s / VECTOR.share,
        MEMORY_BOUND: memory_s / BANDWIDTH.share,
        KERNEL: KERNEL_S,
    }
    bound = max(expected, key=lambda name: expected[name])
    return Cost(
        layer=layer,
        kind=group.kind,
        precision=product,
        sparse=bool(sparse),
        matrix_operations=group.matrix_operations,
        vector_operations=group.vector_operations,
        weight_bytes=weight_bytes,
        activation_bytes=activation_bytes,
        floor_s=max(matrix_s, vector_s, memory_s),
        predicted_s=expected[bound],
        bound=bound,
    )


def _share_of_sparse_peak(sparse: Sequence[Node], graph: Graph) -> float:
    """What a kernel reaches of the doubled peak, relative to its share of the dense one: half where it stays dense."""
    return SPARSE.share if max(_channels(n, graph) for n in sparse) >= SPARSE_CHANNELS else 0.5
