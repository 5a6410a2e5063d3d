"""Inlines the functions of the domain `vpp_edge` in a graph, and turns their bodies into calls again.

Everything that lowers or measures precision works on flat graphs, because the tensors in a body have their own ranges,
rounding and quantization. The nodes of an inlined body keep a reference to their call, so that a body that is still
intact becomes a call again, in any precision. One that was broken up by a cast or a quantizer stays inlined.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vpp_edge.export.functions.definitions import DOMAIN, NAMES, VERSION, function_from_name

_IR_VERSION = 10
_CALL, _INNER = "vpp_edge/call", "vpp_edge/inner"  # keys in a node's `meta`: its call, and its node in the body


def define_functions(model: Any) -> None:
    """Add the functions that a graph calls to it, and name each call after its function, in place."""
    counts: dict[str, int] = {}
    for node in model.graph:
        if node.domain == DOMAIN and node.op_type in NAMES:
            counts[node.op_type] = counts.get(node.op_type, -1) + 1
            node.name = f"{node.op_type}_{counts[node.op_type]}"
            node.outputs[0].name = node.name
    _keep_functions(model, counts)


def load_flat(source: Path) -> Any:
    """Load a file as onnx_ir.Model with all calls inlined: standard operators only."""
    import onnx_ir as ir

    model = ir.load(source)
    inline_calls(model)
    return model


def inline_calls(model: Any) -> None:
    """Replace every call by the body of its function, in place.

    Values in the body are named `<call>/<name in the body>` and get a shape and a type.
    """
    inferred: dict[str, list[Any]] = {}  # shapes and types of a body's values, by function, inputs and attributes
    for call in [n for n in model.graph if n.domain == DOMAIN]:
        function = model.functions[call.op_identifier()]
        nodes, results = _body(call, function, call.inputs)
        input_types = [(str(v.shape), v.dtype) for v in call.inputs]
        key = str((call.op_type, input_types, [str(a) for a in call.attributes.values()]))
        if key not in inferred:
            inferred[key] = _inferred(call, function, model.opset_imports[""])
        values = (v for node in nodes for v in node.outputs)
        for value, (shape, value_type) in zip(values, inferred[key], strict=True):
            value.shape, value.type = shape, value_type
        model.graph.insert_after(call, nodes)
        _replace(model.graph, call, results)
    _keep_functions(model, ())


def outline_calls(model: Any) -> None:
    """Turn every body from `inline_calls` that is still intact into a call again, in place."""
    import onnx_ir as ir

    bodies: dict[int, tuple[Any, dict[Any, Any]]] = {}  # by call: the call, and the node of each node in the function
    for node in model.graph:
        if _CALL in node.meta:
            call = node.meta[_CALL]
            bodies.setdefault(id(call), (call, {}))[1][node.meta[_INNER]] = node
    used = set()
    for call, nodes in bodies.values():
        function = next(iter(nodes)).graph
        bound = _bound(function, nodes)
        if bound is None:
            continue
        last = nodes[function.outputs[0].producer()]
        new_call = ir.node(
            call.op_type, [bound[v] for v in function.inputs], call.attributes, domain=DOMAIN, name=call.name
        )
        new_call.outputs[0].shape, new_call.outputs[0].type = last.outputs[0].shape, last.outputs[0].type
        model.graph.insert_after(last, new_call)
        _replace(model.graph, last, list(new_call.outputs))
        model.graph.remove([n for n in nodes.values() if n is not last], safe=True)
        used.add(call.op_type)
    _keep_functions(model, used)


def _keep_functions(model: Any, names: Collection[str]) -> None:
    """Define exactly the functions with these names."""
    model.functions.clear()
    model.opset_imports.pop(DOMAIN, None)
    if names:
        model.opset_imports[DOMAIN] = VERSION
    for name in sorted(names):
        function = function_from_name(name, model.opset_imports[""])
        model.functions[function.identifier()] = function


def _body(call: Any, function: Any, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """New nodes for the body of a function applied to these inputs, and its outputs."""
    import onnx_ir as ir

    values = dict(zip(function.inputs, inputs, strict=True))
    nodes = []
    for inner in function:
        node = ir.node(
            inner.op_type,
            [values[v] for v in inner.inputs],
            _attributes(inner, call),
            num_outputs=len(inner.outputs),
            name=f"{call.name}/{inner.outputs[0].name}",
        )
        node.meta[_CALL], node.meta[_INNER] = call, inner
        for value, inner_value in zip(node.outputs, inner.outputs, strict=True):
            value.name = f"{call.name}/{inner_value.name}"
            values[inner_value] = value
        nodes.append(node)
    return nodes, [values[v] for v in function.outputs]


def _attributes(inner: Any, call: Any) -> dict[str, Any]:
    """Attributes of a node in a body, with references to function attributes resolved from the call."""
    import onnx_ir as ir

    resolved = {}
    for name, attribute in inner.attributes.items():
        source = call.attributes[attribute.ref_attr_name] if attribute.is_ref() else attribute
        resolved[name] = ir.Attr(name, source.type, source.value)
    return resolved


def _inferred(call: Any, function: Any, opset: int) -> list[Any]:
    """Shape and type of every value in a body, in order, as ONNX infers them from the inputs of this call."""
    import onnx_ir as ir
    from onnx_ir.passes.common import ShapeInferencePass

    inputs = [ir.Value(name=f"input/{i}", shape=v.shape, type=v.type) for i, v in enumerate(call.inputs)]
    nodes, results = _body(call, function, inputs)
    graph = ir.Graph(inputs, results, nodes=nodes, opset_imports={"": opset}, name=call.name)
    model = ShapeInferencePass()(ir.Model(graph, ir_version=_IR_VERSION)).model
    return [(v.shape, v.type) for node in model.graph for v in node.outputs]


def _bound(function: Any, nodes: dict[Any, Any]) -> dict[Any, Any] | None:
    """The graph's value for each value of a body; None if the graph no longer computes that body."""
    bound: dict[Any, Any] = {}
    for inner in function:
        node = nodes.get(inner)
        if node is None or node.op_type != inner.op_type or len(node.inputs) != len(inner.inputs):
            return None
        for inner_value, value in zip(inner.inputs, node.inputs, strict=True):
            if bound.setdefault(inner_value, value) is not value:
                return None
        bound.update(zip(inner.outputs, node.outputs, strict=True))
    members = set(nodes.values())
    inside = [v for node in members for v in node.outputs if v is not bound[function.outputs[0]]]
    if any(v.is_graph_output() or any(use.node not in members for use in v.uses()) for v in inside):
        return None
    return bound


def _replace(graph: Any, node: Any, values: list[Any]) -> None:
    """Replace a node's outputs by values, which take over their names, and remove the node."""
    for old, new in zip(node.outputs, values, strict=True):
        name, old.name = old.name, None
        for use in list(old.uses()):
            use.node.replace_input_with(use.idx, new)
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = new
        new.name = name
    graph.remove(node, safe=True)
