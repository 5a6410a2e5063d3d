"""Simulate FP16 on a CPU: a float32 graph that rounds the result of every node to FP16.

ONNX Runtime has hardly any FP16 kernels for x86: it computes an FP16 graph in float32 and skips the rounding in between
(seen with 1.32: `1 + x - 1` gives x), which makes the graph look too accurate. Here every result passes a cast to FP16
and back, which it keeps. An engine that fuses nodes rounds less often, so the simulation is conservative.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from vpp_edge.export.precision.graph_edits import add_initializer, describe, insert_after
from vpp_edge.export.precision.half import half_array

# Operators that only pass on values that are already rounded.
_EXACT = frozenset({"Concat", "Expand", "Flatten", "Gather", "GatherND", "Identity", "Reshape", "Slice", "Split",
                    "Squeeze", "Transpose", "Unsqueeze", "Where"})  # fmt: skip


def rounded_graph(model: Any, wide: Collection[str]) -> None:
    """Converts in place; the counterpart of `half_graph`.

    Args:
        model: onnx_ir.Model in float32.
        wide: names of nodes that stay in float32.
    """
    _Rounding(model).run(frozenset(wide))


class _Rounding:
    def __init__(self, model: Any) -> None:
        import onnx_ir as ir

        self.ir, self.graph = ir, model.graph
        self.made: dict[Any, Any] = {}  # value -> the rounded value

    def run(self, wide: frozenset[str]) -> None:
        for node in [n for n in self.graph if n.name not in wide]:
            for i, value in enumerate(node.inputs):
                if value is not None and value.dtype == self.ir.DataType.FLOAT and value.producer() is None:
                    node.replace_input_with(i, self._weight(value) if value.is_initializer() else self._rounded(value))
            for output in node.outputs if node.op_type not in _EXACT else ():
                if output.dtype == self.ir.DataType.FLOAT:
                    self._round_uses(output)

    def _weight(self, value: Any) -> Any:
        if value not in self.made:
            array = half_array(value.const_value.numpy()).astype(np.float32)
            self.made[value] = add_initializer(self.graph, f"{value.name}/rounded", array)
        return self.made[value]

    def _round_uses(self, output: Any) -> None:
        users = list(output.uses())
        index = next((i for i, o in enumerate(self.graph.outputs) if o is output), None)
        rounded = self._rounded(output)
        for use in users:
            use.node.replace_input_with(use.idx, rounded)
        if index is not None:
            name, output.name = output.name, f"{output.name}/exact"
            rounded.name = name
            self.graph.outputs[index] = rounded

    def _rounded(self, value: Any) -> Any:
        if value not in self.made:
            there = self.ir.node("Cast", [value], {"to": int(self.ir.DataType.FLOAT16)}, name=f"round/{value.name}")
            back = self.ir.node(
                "Cast", [there.outputs[0]], {"to": int(self.ir.DataType.FLOAT)}, name=f"round/{value.name}/back"
            )
            for made, name, kind in ((there, "16", self.ir.DataType.FLOAT16), (back, "rounded", value.dtype)):
                describe(made.outputs[0], f"{value.name}/{name}", value.shape, kind)
            insert_after(self.graph, value, [there, back])
            self.made[value] = back.outputs[0]
        return self.made[value]
