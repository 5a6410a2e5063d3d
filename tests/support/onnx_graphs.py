"""Small ONNX graphs for tests: in, nodes and shapes; out, a model, with or without weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vpp_edge.cpu_session import cpu_session, exact_settings

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


def runnable(nodes: Sequence[Any], inputs: Shapes, outputs: Shapes, weights: Mapping[str, np.ndarray]) -> Any:
    """A model of float tensors with weights in it and the type of every tensor stated, as the exporter writes it."""
    made = model(nodes, inputs, outputs)
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    made.ir_version = 10
    return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)


def rewritten(source: Any, rewrite: Callable[[Any], object]) -> Any:
    """The model after `rewrite(onnx_ir.Model)`, which must be valid: what its edges state is what ONNX infers."""
    import onnx_ir as ir

    changed = ir.serde.deserialize_model(source)
    rewrite(changed)
    made = ir.serde.serialize_model(changed)
    onnx.checker.check_model(made, full_check=True)
    bare = onnx.ModelProto()
    bare.CopyFrom(made)
    del bare.graph.value_info[:]
    inferred = kinds(onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True))
    assert kinds(made) == inferred
    return made


def kinds(source: Any) -> dict[str, str]:
    """Element type of every tensor that the file states, such as FLOAT16."""
    values = [*source.graph.input, *source.graph.value_info, *source.graph.output]
    found = {v.name: v.type.tensor_type.elem_type for v in values}
    found |= {w.name: w.data_type for w in source.graph.initializer}
    return {name: TensorProto.DataType.Name(kind) for name, kind in found.items()}


def weights_of(source: Any) -> dict[str, np.ndarray]:
    """Content of the initializers."""
    return {w.name: numpy_helper.to_array(w) for w in source.graph.initializer}


def ops_of(source: Any) -> list[str]:
    """Operators in the order of the file."""
    return [n.op_type for n in source.graph.node]


def run(source: Any, feeds: Mapping[str, np.ndarray], optimized: bool = True) -> dict[str, np.ndarray]:
    """Outputs by name, from ONNX Runtime with all of its optimizations or with none."""
    import onnxruntime

    settings = exact_settings()
    settings.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    settings.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    session = cpu_session(source.SerializeToString(), settings)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node; names of tensors are separated by spaces."""
    return onnx.helper.make_node(op, inputs.split(), outputs.split(), name=f"node_{outputs.split()[0]}", **attributes)


def _value(name: str, shape: Sequence[int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
