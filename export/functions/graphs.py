"""Functions of the domain `vpp_edge` in and out of graphs: in, a graph; out, the same with calls, or with their bodies.

Everything that lowers or measures precision works on flat graphs: a body's tensors have ranges, rounding and INT8 of
their own. What a body became is remembered at its nodes, so that one that is still whole becomes a call again, in
whatever precision; one that was taken apart, by a cast or a quantizer, stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vpp_edge.export.functions.definitions import DOMAIN, NAMES, VERSION, function_from_name

_IR_VERSION = 10
_CALL, _INNER = "vpp_edge/call", "vpp_edge/inner"  # in a node's `meta`: the call, and the node of the body


def define_functions(model: Any) -> None:
    """Gives a graph with calls the functions that it calls, and its calls names after these, in place."""
    counts: dict[str, int] = {}
    for node in model.graph:
        if node.domain == DOMAIN and node.op_type in NAMES:
            counts[node.op_type] = counts.get(node.op_type, -1) + 1
            node.name = f"{node.op_type}_{counts[node.op_type]}"
            node.outputs[0].name = node.name
    _keep_functions(model, counts)


def load_flat(source: Path) -> Any:
    """onnx_ir.Model of a file, without calls: standard operators only."""
    import onnx_ir as ir

    model = ir.load(source)
    inline_calls(model)
    return model


def inline_calls(model: Any) -> None:
    """Replaces every call by the body of its function, in place.

    What is computed inside is named `<call>/<name in the body>`, and its shape and type are stated.
    """
    kinds: dict[Any, list[Any]] = {}  # of the values of a body, by what decides them
    for call in [n for n in model.graph if n.domain == DOMAIN]:
        function = model.functions[call.op_identifier()]
        nodes, results = _body(call, function, call.inputs)
        given = [(str(v.shape), v.dtype) for v in call.inputs]
        key = str((call.op_type, given, [str(a) for a in call.attributes.values()]))
        if key not in kinds:
            kinds[key] = _inferred(call, function, model.opset_imports[""])
        made = (v for node in nodes for v in node.outputs)
        for value, (shape, kind) in zip(made, kinds[key], strict=True):
            value.shape, value.type = shape, kind
        model.graph.insert_after(call, nodes)
        _replace(model.graph, call, results)
    _keep_functions(model, ())


def outline_calls(model: Any) -> None:
    """Turns every body of `inline_calls` that is still whole into a call again, in place."""
    import onnx_ir as ir

    groups: dict[int, tuple[Any, dict[Any, Any]]] = {}
    for node in model.graph:
        if _CALL in node.meta:
            call, nodes = node.meta[_CALL], groups.setdefault(id(node.meta[_CALL]), (node.meta[_CALL], {}))[1]
            nodes[node.meta[_INNER]] = node
    used = set()
    for call, nodes in groups.values():
        function = next(iter(nodes)).graph
        bound = _bound(function, nodes)
        if bound is None:
            continue
        last = nodes[function.outputs[0].producer()]
        made = ir.node(
            call.op_type, [bound[v] for v in function.inputs], call.attributes, domain=DOMAIN, name=call.name
        )
        made.outputs[0].shape, made.outputs[0].type = last.outputs[0].shape, last.outputs[0].type
        model.graph.insert_after(last, made)
        _replace(model.graph, last, list(made.outputs))
        model.graph.remove([n for n in nodes.values() if n is not last], safe=True)
        used.add(call.op_type)
    _keep_functions(model, used)


def _keep_functions(model: Any, names: Collection[str]) -> None:
    """Defines the functions of these names and no others."""
    model.functions.clear()
    model.opset_imports.pop(DOMAIN, None)
    if names:
        model.opset_imports[DOMAIN] = VERSION
    for name in sorted(names):
        function = function_from_name(name, model.opset_imports[""])
        model.functions[function.identifier()] = function


def _body(call: Any, function: Any, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """New nodes for the body of a function that is given these inputs, and its outputs."""
    import onnx_ir as ir

    values = dict(zip(function.inputs, inputs, strict=True))
    nodes = []
    for inner in function:
        made = ir.node(
            inner.op_type,
            [values[v] for v in inner.inputs],
            _attributes(inner, call),
            num_outputs=len(inner.outputs),
            name=f"{call.name}/{inner.outputs[0].name}",
        )
        made.meta[_CALL], made.meta[_INNER] = call, inner
        for ours, theirs in zip(made.outputs, inner.outputs, strict=True):
            ours.name = f"{call.name}/{theirs.name}"
            values[theirs] = ours
        nodes.append(made)
    return nodes, [values[v] for v in function.outputs]


def _attributes(inner: Any, call: Any) -> dict[str, Any]:
    """Of a node in a body; where it refers to one of the function's, with the value of the call."""
    import onnx_ir as ir

    made = {}
    for name, attribute in inner.attributes.items():
        given = call.attributes[attribute.ref_attr_name] if attribute.is_ref() else attribute
        made[name] = ir.Attr(name, given.type, given.value)
    return made


def _inferred(call: Any, function: Any, opset: int) -> list[Any]:
    """Shape and type of every value that a body makes, in its order, as ONNX infers them for this call's inputs."""
    import onnx_ir as ir
    from onnx_ir.passes.common import ShapeInferencePass

    inputs = [ir.Value(name=f"input/{i}", shape=v.shape, type=v.type) for i, v in enumerate(call.inputs)]
    nodes, results = _body(call, function, inputs)
    graph = ir.Graph(inputs, results, nodes=nodes, opset_imports={"": opset}, name=call.name)
    model = ShapeInferencePass()(ir.Model(graph, ir_version=_IR_VERSION)).model
    return [(v.shape, v.type) for node in model.graph for v in node.outputs]


def _bound(function: Any, nodes: dict[Any, Any]) -> dict[Any, Any] | None:
    """What each value of a body is in the graph; None where the graph no longer computes that body."""
    bound: dict[Any, Any] = {}
    for inner in function:
        node = nodes.get(inner)
        if node is None or node.op_type != inner.op_type or len(node.inputs) != len(inner.inputs):
            return None
        for theirs, ours in zip(inner.inputs, node.inputs, strict=True):
            if bound.setdefault(theirs, ours) is not ours:
                return None
        bound.update(zip(inner.outputs, node.outputs, strict=True))
    members = set(nodes.values())
    inside = [v for node in members for v in node.outputs if v is not bound[function.outputs[0]]]
    if any(v.is_graph_output() or any(use.node not in members for use in v.uses()) for v in inside):
        return None
    return bound


def _replace(graph: Any, node: Any, values: list[Any]) -> None:
    """Puts values in the place of a node's outputs, whose names they take, and removes the node."""
    for old, new in zip(node.outputs, values, strict=True):
        name, old.name = old.name, None
        for use in list(old.uses()):
            use.node.replace_input_with(use.idx, new)
        for index, output in enumerate(graph.outputs):
            if output is old:
                graph.outputs[index] = new
        new.name = name
    graph.remove(node, safe=True)
