"""Count operations and tensors per node of an ONNX graph with static shapes; the weights say only which are sparse.

An operation is a multiplication or an addition: a multiply-accumulate of a matrix product counts as two, as in
figures of vendors and papers. Elementwise results and reductions are counted separately: other units compute them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.work import (
    CONSTANT,
    MATRIX,
    MOVE,
    NORM,
    PART,
    POINTWISE,
    UNKNOWN,
    VIEW,
    VIEWS,
    Graph,
    Node,
    Shape,
    Tensor,
)
from vpp_edge.errors import BadInputError, BundleError, MissingDependencyError
from vpp_edge.export.sparse_weights import sparse_products
from vpp_edge.installing import pip_install

# Elementwise operations per element that is reduced: mean and variance in one pass (2 + 2), then subtract and scale;
# for softmax maximum, subtract, exponential, sum, divide.
_REDUCTIONS = {
    "LayerNormalization": 6, "InstanceNormalization": 6, "GroupNormalization": 6, "RMSNormalization": 4,
    "Softmax": 5, "LogSoftmax": 5, "ReduceMean": 1, "ReduceSum": 1, "ReduceMax": 1, "ReduceMin": 1, "ReduceL2": 2,
    "ArgMax": 1, "ArgMin": 1, "GlobalAveragePool": 1, "CumSum": 1,
}  # fmt: skip
# One elementwise operation per result.
_POINTWISE = frozenset({
    "Abs", "Add", "And", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "Cast", "CastLike", "Ceil", "Clip", "Cos",
    "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "Trilu", "Where", "Xor",
})  # fmt: skip
_PARTS = frozenset({"Slice", "Split"})
_SELECTIONS = frozenset({"Gather", "GatherElements", "GatherND"})
_MOVES = _SELECTIONS | {"Pad", "Resize", "ScatterElements", "ScatterND", "Tile", "Upsample", "OneHot"}
_SHAPE_ONLY = frozenset({"Constant", "ConstantOfShape", "Range", "Shape", "Size"})


def graph_of_stage(bundle: Bundle, name: str) -> Graph:
    """The work in one stage of a bundle; its weights are not opened.

    Raises:
        BadInputError: its shapes are not static.
        BundleError: the graph is missing, changed or not an ONNX file.
        MissingDependencyError: no onnx package is installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "onnx",
            f"counting the work in stage {name} of {bundle.path}, which keeps no counts of it,",
            pip_install("export"),
        ) from error
    file = bundle.stage(name).graph
    content = bytes(bundle.open_verified(file))
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own class, but protobuf is not one of our requirements
        raise BundleError(f"{bundle.path / file}: not readable as ONNX ({error})") from error
    try:
        return graph_from_model(model)
    except BadInputError as error:
        raise BadInputError(f"{bundle.path / file}: {error}") from error


def graph_from_file(path: Path) -> Graph:
    """The work in an ONNX file, and which of its weights are 2:4 sparse. Errors as `graph_from_model`."""
    import onnx

    model = _without_functions(onnx.load(path, load_external_data=False))
    return replace(graph_from_model(model), sparse=sparse_products(model, path.parent))


def graph_from_model(model: Any) -> Graph:
    """The graph of an `onnx.ModelProto` whose external data need not be loaded.

    Raises:
        BadInputError: a shape is not static, nodes are not in order, or a node has shapes that its operator forbids.
    """
    model = _without_functions(model)
    tensors = _tensors(model)
    constants = {i.name for i in model.graph.initializer}
    made = constants | {i.name for i in model.graph.input} | {""}
    nodes: list[Node] = []
    unknown: Counter[str] = Counter()
    for index, proto in enumerate(model.graph.node):
        inputs, outputs = tuple(proto.input), tuple(name for name in proto.output if name)
        op = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        node = Node(
            index=index, name=proto.name, op=op, kind=_kind(op, inputs, constants), inputs=inputs, outputs=outputs
        )
        if not made.issuperset(inputs):
            raise BadInputError(f"node {proto.name} ({op}) reads {(set(inputs) - made).pop()!r} before it is computed")
        made.update(outputs)
        if node.kind == CONSTANT:
            constants.update(outputs)
        else:
            missing = [name for name in (*inputs, *outputs) if name and name not in tensors]
            if missing:
                raise BadInputError(f"node {proto.name} ({op}): the shape of {missing[0]!r} is not static")
            node = _with_work(node, proto, tensors)
        if node.kind == UNKNOWN:
            unknown[op] += 1
        nodes.append(node)
    quantized = any(n.op == "DequantizeLinear" for n in nodes)
    results = frozenset(o.name for o in model.graph.output)
    return Graph(
        nodes=tuple(nodes),
        tensors=tensors,
        constants=frozenset(constants),
        outputs=results,
        unknown=dict(unknown),
        quantized=quantized,
    )


def _without_functions(model: Any) -> Any:
    """The model with its own functions inlined, so that their work is counted."""
    if not model.functions:
        return model
    from onnx import inliner

    return inliner.inline_local_functions(model)


def _kind(op: str, inputs: Sequence[str], constants: set[str]) -> str:
    if op in _SHAPE_ONLY or (inputs and all(name in constants for name in inputs if name)):
        return CONSTANT
    if op in _SELECTIONS and len(inputs) > 1 and inputs[1] in constants:
        return PART
    for kind, ops in (
        (MATRIX, _PRODUCTS),
        (NORM, _REDUCTIONS),
        (POINTWISE, _POINTWISE),
        (VIEW, VIEWS),
        (PART, _PARTS),
        (MOVE, _MOVES),
    ):
        if op in ops:
            return kind
    return UNKNOWN


def _tensors(model: Any) -> dict[str, Tensor]:
    """Every tensor with a static shape; missing shapes are inferred."""
    import onnx

    stated = _stated_tensors(model.graph)
    if any(name and name not in stated for node in model.graph.node for name in node.output):
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        except onnx.shape_inference.InferenceError as error:
            raise BadInputError(f"shapes cannot be inferred: {error}") from error
        return {**_stated_tensors(inferred), **stated}
    return stated


def _stated_tensors(graph: Any) -> dict[str, Tensor]:
    tensors = {i.name: _tensor(i.data_type, tuple(i.dims)) for i in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        kind = value.type.tensor_type
        dims = kind.shape.dim
        if kind.elem_type and kind.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            tensors[value.name] = _tensor(kind.elem_type, tuple(d.dim_value for d in dims))
    return tensors


def _tensor(data_type: int, shape: Shape) -> Tensor:
    from onnx import TensorProto, helper

    if data_type in (TensorProto.INT4, TensorProto.UINT4):
        return Tensor(shape, 0.5, False)
    floating = data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    return Tensor(shape, float(helper.tensor_dtype_to_np_dtype(data_type).itemsize), floating)


def _with_work(node: Node, proto: Any, tensors: Mapping[str, Tensor]) -> Node:
    from onnx import helper

    matrix = vector = 0
    results = sum(tensors[name].elements for name in node.outputs)
    if node.kind == MATRIX:
        shapes = [tensors[name].shape if name else () for name in node.inputs]
        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        try:
            matrix = _PRODUCTS[node.op](shapes, tensors[node.outputs[0]].shape, attributes)
        except (IndexError, KeyError, ValueError) as error:
            raise BadInputError(f"node {node.name} ({node.op}): unexpected shapes {shapes}: {error}") from error
        vector = results if node.op in _WITH_BIAS and len(node.inputs) > 2 and node.inputs[2] else 0
        if node.op == "Attention":
            vector = _REDUCTIONS["Softmax"] * _scores(shapes, attributes)
    elif node.kind == NORM:
        vector = _REDUCTIONS[node.op] * tensors[node.inputs[0]].elements
    elif node.kind in (POINTWISE, MOVE):
        vector = results
    return replace(node, matrix_operations=matrix, vector_operations=vector)


def _conv(shapes: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(output) * math.prod(shapes[1][1:])  # a filter spans its group's channels and the kernel


def _conv_transpose(shapes: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _gemm(shapes: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(output) * shapes[0][0 if attributes.get("transA", 0) else 1]


def _matmul(shapes: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(output) * shapes[0][-1]


def _einsum(shapes: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    terms = attributes["equation"].decode().replace(" ", "").split("->")[0].split(",")
    if any("." in term for term in terms):
        raise ValueError("an ellipsis in the equation")
    sizes = {letter: size for term, shape in zip(terms, shapes, strict=True) for letter, size in zip(term, shape)}  # noqa: B905
    return 2 * math.prod(sizes.values()) * max(len(terms) - 1, 0)


def _attention(shapes: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int:
    """Q K^T and its product with V; (B, heads, L, E), or (B, L, heads * E) with the number of heads as attribute."""
    heads = 1 if len(shapes[0]) == 4 else attributes["q_num_heads"]
    return 2 * _scores(shapes, attributes) * (shapes[0][-1] + output[-1]) // heads


def _scores(shapes: Sequence[Shape], attributes: Mapping[str, Any]) -> int:
    heads = shapes[0][1] if len(shapes[0]) == 4 else attributes["q_num_heads"]
    return shapes[0][0] * heads * shapes[0][-2] * shapes[1][-2]


_PRODUCTS: dict[str, Callable[[Sequence[Shape], Shape, Mapping[str, Any]], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Einsum": _einsum,
    "Attention": _attention,
}
_WITH_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})
