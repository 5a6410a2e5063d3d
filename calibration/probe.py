"""Add outputs to a graph that report the largest magnitude of its tensors.

The maximum is computed inside the graph, so that whole activations never leave it: a full-size policy has gigabytes of
them in one inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

PREFIX = "largest/"


def probed_graph(source: Path, target: Path, tensors: Mapping[str, int | None]) -> None:
    """Writes the graph of `source` with an output `largest/<tensor>` for every one of the tensors.

    Args:
        tensors: axis by name, for one number per entry of that axis; None: one number for the tensor.
    """
    import onnx_ir as ir

    model = ir.load(source)
    values = {v.name: v for v in model.graph.inputs} | {v.name: v for n in model.graph for v in n.outputs}
    for name, axis in tensors.items():
        _add_probe(ir, model.graph, values[name], axis)
    ir.save(model, target, external_data=f"{target.name}.data")


def _add_probe(ir: Any, graph: Any, value: Any, axis: int | None) -> None:
    rank = len(value.shape)
    others = [i for i in range(rank) if axis is not None and i != axis % rank]
    size = ir.node("Abs", [value], name=f"abs/{value.name}")
    size.outputs[0].name = f"abs/{value.name}"
    inputs = [size.outputs[0]]
    if others:
        name = f"axes/{value.name}"
        axes = ir.Value(name=name, const_value=ir.tensor(np.array(others, dtype=np.int64), name=name))
        graph.register_initializer(axes)
        inputs.append(axes)
    if axis is not None and not others:  # ReduceMax without axes would reduce the only axis
        largest = ir.node("Identity", inputs, name=PREFIX + value.name)
    else:
        largest = ir.node("ReduceMax", inputs, {"keepdims": 0}, name=PREFIX + value.name)
    output = largest.outputs[0]
    output.name, output.type = PREFIX + value.name, ir.TensorType(value.dtype)
    output.shape = ir.Shape(() if axis is None else (value.shape[axis],))
    producer = value.producer()
    if producer is None:
        graph.insert_before(next(iter(graph)), [size, largest])
    else:
        graph.insert_after(producer, [size, largest])
    graph.outputs.append(output)


def largest_magnitudes(session: Any, feeds: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """By tensor, the largest magnitude over all feeds, () or (C,) float32.

    Args:
        session: onnxruntime.InferenceSession of a probed graph.
    """
    names = [o.name for o in session.get_outputs() if o.name.startswith(PREFIX)]
    found: dict[str, np.ndarray] = {}
    for feed in feeds:
        for name, largest in zip(names, session.run(names, dict(feed)), strict=True):
            tensor = name.removeprefix(PREFIX)
            found[tensor] = np.maximum(found.get(tensor, 0), largest)
    return found
