"""What a quantizer did to a graph: in, an ONNX file with QuantizeLinear and DequantizeLinear; out, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRODUCTS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class GraphFacts:
    """Counts over the nodes of a graph.

    Attributes:
        products: matrix products by "weighted" or "activations", and "quantized" or "kept".
        macs_quantized: share of the multiply-accumulates whose two operands both come from DequantizeLinear.
        weights: how those of products lie in the file.
        scales: (operator, dtype of its scale): how often.
        dtypes: of the products' results.
        biases: of products: how many come from DequantizeLinear.
    """

    products: dict[str, int]
    macs_quantized: float
    weights: dict[str, int]
    scales: dict[str, int]
    dtypes: dict[str, int]
    casts: int
    biases: dict[str, int]

    def lines(self) -> Iterator[str]:
        """The counts, one kind a line."""
        yield f"products {self.products}, {self.macs_quantized:.1%} of the MACs"
        yield f"weights {self.weights}"
        yield f"scales {self.scales}; results of products {self.dtypes}; {self.casts} Cast; biases {self.biases}"


def facts_of_graph(target: Path) -> GraphFacts:
    """Counts the products of a quantized graph: covered or not, weighted or not, and the dtypes around them."""
    import onnx

    from vpp_edge.export.counting import graph_from_model

    inferred = target.with_suffix(".shapes.onnx")
    onnx.shape_inference.infer_shapes_path(str(target), str(inferred))
    model = onnx.load(inferred, load_external_data=False)
    graph, name_of = model.graph, onnx.TensorProto.DataType.Name
    work = {n.outputs[0]: n.matrix_operations for n in graph_from_model(model).nodes}
    made_by = {name: node for node in graph.node for name in node.output}
    dtype_of = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    dtype_of |= {t.name: t.data_type for t in graph.initializer}
    constants = _constants(graph)
    tensors = {t.name: t for t in graph.initializer}
    products, weights, scales, dtypes, biases = (Counter[str]() for _ in range(5))
    macs: Counter[bool] = Counter()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales[f"{node.op_type} {name_of(dtype_of.get(node.input[1], 0))}"] += 1
        if node.op_type not in PRODUCTS:
            continue
        sources = [_origin(name, made_by) for name in node.input]
        weighted = any(name in constants for name in node.input[:2])
        covered = sources[0] == sources[1] == "DequantizeLinear"
        products[f"{'weighted' if weighted else 'activations'} {'quantized' if covered else 'kept'}"] += 1
        weights.update(_storage(name, made_by, tensors) for name in node.input[:2] if name in constants)
        macs[covered] += work[node.output[0]]
        dtypes[name_of(dtype_of.get(node.output[0], 0))] += 1
        biases.update(["dequantized" if s == "DequantizeLinear" else "kept" for s in sources[2:]])
    casts = sum(n.op_type == "Cast" for n in graph.node)
    share = macs[True] / max(macs.total(), 1)
    return GraphFacts(
        products=dict(products),
        macs_quantized=share,
        weights=dict(weights),
        scales=dict(scales),
        dtypes=dict(dtypes),
        casts=casts,
        biases=dict(biases),
    )


def _origin(name: str, made_by: Mapping[str, Any]) -> str:
    """The operator that computes a tensor, past casts, reshapes and transposes; "" for inputs and initializers."""
    node = made_by.get(name)
    while node is not None and node.op_type in ("Cast", "Reshape", "Transpose"):
        node = made_by.get(node.input[0])
    return "" if node is None else node.op_type


def _storage(name: str, made_by: Mapping[str, Any], tensors: Mapping[str, Any]) -> str:
    """How a weight lies in the file: as INT8, per channel or per tensor, or to be quantized when it is loaded."""
    node = made_by.get(name)
    while node is not None and node.op_type != "DequantizeLinear":
        node = made_by.get(node.input[0])
    if node is None:
        return "not quantized"
    scale = tensors.get(node.input[1])
    grain = "per channel" if scale is not None and scale.dims and scale.dims[0] > 1 else "per tensor"
    return f"{'INT8' if node.input[0] in tensors else 'float, quantized at load'} {grain}"


def _constants(graph: Any) -> set[str]:
    """Names of the tensors that depend on no input of the graph, whose nodes are in order."""
    found = {t.name for t in graph.initializer}
    for node in graph.node:
        if all(name in found for name in node.input if name):
            found.update(node.output)
    return found
