"""Convert a float32 graph to FP16, except for selected nodes and the inputs and outputs.

Strongly typed: every tensor has the type that the file states, with casts between precisions. The inputs and outputs of
the stage keep their types, so callers see no difference.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from vpp_edge.export.precision.graph_edits import add_initializer, describe, drop_unused_initializers

HALF_MAX = 65504.0  # largest finite number of FP16 (IEEE 754 binary16)
# Inputs that an operator defines as float32 or integers, independent of its other inputs.
_UNTYPED = {"Resize": (1, 2), "Reshape": (1,), "Expand": (1,), "Slice": (1, 2, 3, 4), "Gather": (1,)}


def half_graph(model: Any, wide: Collection[str]) -> None:
    """Converts in place.

    Args:
        model: onnx_ir.Model in float32.
        wide: names of nodes that stay in float32.
    """
    _Conversion(model, frozenset(wide)).run()


def half_array(array: np.ndarray) -> np.ndarray:
    """float16, clamped to the finite range, such as the minus infinity of a mask."""
    return np.clip(array, -HALF_MAX, HALF_MAX).astype(np.float16)


class _Conversion:
    def __init__(self, model: Any, wide: frozenset[str]) -> None:
        import onnx_ir as ir

        self.ir, self.graph, self.wide = ir, model.graph, wide
        self.casts: dict[tuple[Any, bool], Any] = {}  # (value, half) -> the value in that precision
        self.half: set[Any] = set()  # values that are FP16 now

    def run(self) -> None:
        for node in list(self.graph):
            half = node.name not in self.wide
            for i, value in enumerate(node.inputs):
                if value is not None and i not in _UNTYPED.get(node.op_type, ()) and self._floating(value):
                    node.replace_input_with(i, self._in_precision(value, half, node))
            if half:
                self._retype(node)
        for i, output in enumerate(self.graph.outputs):
            if output in self.half:
                self._restore_output(i, output)
        drop_unused_initializers(self.graph)

    def _floating(self, value: Any) -> bool:
        return value.dtype in (self.ir.DataType.FLOAT, self.ir.DataType.FLOAT16)

    def _in_precision(self, value: Any, half: bool, before: Any) -> Any:
        if (value in self.half) == half:
            return value
        if (value, half) not in self.casts:
            made = self._half_weight(value) if value.is_initializer() else self._cast(value, half, before)
            self.casts[value, half] = made
        return self.casts[value, half]

    def _half_weight(self, value: Any) -> Any:
        made = add_initializer(self.graph, f"{value.name}/half", half_array(value.const_value.numpy()))
        self.half.add(made)
        return made

    def _cast(self, value: Any, half: bool, before: Any) -> Any:
        made = self._cast_node(value, half)
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(before, made)
        else:
            self.graph.insert_after(producer, made)
        return made.outputs[0]

    def _cast_node(self, value: Any, half: bool) -> Any:
        kind = self.ir.DataType.FLOAT16 if half else self.ir.DataType.FLOAT
        name = f"{value.name}/{'half' if half else 'single'}"
        made = self.ir.node("Cast", [value], {"to": int(kind)}, name=f"cast/{name}")
        describe(made.outputs[0], name, value.shape, kind)
        if half:
            self.half.add(made.outputs[0])
        return made

    def _retype(self, node: Any) -> None:
        """Makes the float32 outputs of a node FP16."""
        if node.op_type == "Cast" and node.attributes.get_int("to", 0) == int(self.ir.DataType.FLOAT):
            node.attributes["to"] = self.ir.AttrInt64("to", int(self.ir.DataType.FLOAT16))
        for output in node.outputs:
            if output.dtype == self.ir.DataType.FLOAT:
                output.type = self.ir.TensorType(self.ir.DataType.FLOAT16)
                self.half.add(output)

    def _restore_output(self, index: int, output: Any) -> None:
        """A graph output keeps its name and type: the FP16 value is renamed, and a cast takes the name."""
        name, output.name = output.name, f"{output.name}/half"
        made = self._cast_node(output, half=False)
        made.outputs[0].name = name
        self.graph.append(made)
        self.graph.outputs[index] = made.outputs[0]
