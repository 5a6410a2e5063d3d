"""INT8 graphs: insert QuantizeLinear and DequantizeLinear around the products of a graph, with calibrated ranges.

Symmetric: activations with one scale per tensor, weights with one per output channel. Zero points are explicit zeros,
because ONNX Runtime 1.32 turns `MatMul, Add` after a DequantizeLinear without one into a wrong Gemm. Biases stay in the
graph's precision: TensorRT's parser accepts no 32-bit DequantizeLinear, and adds them in the accumulator anyway. Scales
have the type of the tensor they scale, as a strongly typed network requires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import INT8_LEVELS, SWITCH, Product
from vpp_edge.export.precision.graph_edits import add_initializer, describe, drop_unused_initializers, insert_after


def quantize_products(
    model: Any, products: Iterable[Product], ranges: Mapping[str, float], switched: bool = False
) -> None:
    """Quantizes both operands of the given products, in place.

    Args:
        model: onnx_ir.Model, float32 or FP16.
        products: those to run in INT8.
        ranges: largest magnitude by tensor, for every activation of the products.
        switched: add a scalar bool input `int8?<node>` per product that turns INT8 on, so that one graph measures the
            error of each product.
    """
    quantizer = _Quantizer(model)
    nodes = {node.name: node for node in model.graph}
    for product in products:
        node = nodes[product.node]
        switch = quantizer.switch(product.node) if switched else None
        for i, value in enumerate(node.inputs[:2]):
            if value.is_initializer():
                rounded = quantizer.weight(value, _output_axis(node, value))
            else:
                rounded = quantizer.activation(value, ranges[_exported_name(value)])
            if switch is not None:
                rounded = quantizer.either(switch, rounded, value, node)
            node.replace_input_with(i, rounded)
    drop_unused_initializers(model.graph)


def int8_weight(array: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and their scales: per index of `axis`, or one for the whole tensor.

    Scales are rounded to the array's type before the division, so that the stored scale is the one that was used.
    """
    others = tuple(i for i in range(array.ndim) if i != axis) if axis is not None else None
    largest = np.abs(array.astype(np.float32)).max(axis=others)
    scale = scale_of(largest, array.dtype)
    shape = [-1 if i == axis else 1 for i in range(array.ndim)] if axis is not None else [1] * array.ndim
    levels = np.rint(array.astype(np.float32) / scale.astype(np.float32).reshape(shape))
    return np.clip(levels, -INT8_LEVELS, INT8_LEVELS).astype(np.int8), scale


def scale_of(largest: Any, dtype: Any) -> np.ndarray:
    """The size of one level in the type of the tensor: never zero, and a normal number of that type."""
    return np.asarray(np.maximum(np.asarray(largest, np.float32) / INT8_LEVELS, np.finfo(dtype).tiny), dtype)


def _exported_name(value: Any) -> str:
    """The name in the float32 graph, without the suffixes of precision changes."""
    return str(value.name).removesuffix("/half").removesuffix("/single").removesuffix("/rounded")


def _output_axis(node: Any, weight: Any) -> int | None:
    """The axis of a weight that becomes channels of the result; None for batched weights, which share one scale."""
    if node.op_type == "Conv":
        return 0
    if len(weight.shape) != 2:
        return None
    return 0 if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) else 1


class _Quantizer:
    """Inserts Q/DQ pairs into a graph; a tensor that several products read is quantized once."""

    def __init__(self, model: Any) -> None:
        import onnx_ir as ir

        self.ir, self.graph = ir, model.graph
        self.made: dict[tuple[Any, int | None], Any] = {}

    def activation(self, value: Any, largest: float) -> Any:
        if (value, None) not in self.made:
            scale = add_initializer(self.graph, f"{value.name}/scale", scale_of(largest, value.dtype.numpy()))
            quantize = self.ir.node("QuantizeLinear", [value, scale, self._zero(())], name=f"quantize/{value.name}")
            describe(quantize.outputs[0], f"{value.name}/int8", value.shape, self.ir.DataType.INT8)
            dequantize = self._dequantize(quantize.outputs[0], scale, value, None)
            insert_after(self.graph, value, [quantize, dequantize])
            self.made[value, None] = dequantize.outputs[0]
        return self.made[value, None]

    def weight(self, value: Any, axis: int | None) -> Any:
        if (value, axis) not in self.made:
            levels, scales = int8_weight(value.const_value.numpy(), axis)
            name = value.name if axis is None else f"{value.name}/{axis}"
            stored = add_initializer(self.graph, f"{name}/int8", levels)
            dequantize = self._dequantize(stored, add_initializer(self.graph, f"{name}/scale", scales), value, axis)
            self.graph.insert_before(next(iter(self.graph)), dequantize)
            self.made[value, axis] = dequantize.outputs[0]
        return self.made[value, axis]

    def switch(self, name: str) -> Any:
        """A new input of the graph."""
        made = self.ir.Value(
            name=SWITCH + name, shape=self.ir.Shape(()), type=self.ir.TensorType(self.ir.DataType.BOOL)
        )
        self.graph.inputs.append(made)
        return made

    def either(self, switch: Any, rounded: Any, value: Any, before: Any) -> Any:
        made = self.ir.node("Where", [switch, rounded, value], name=f"{switch.name}/{value.name}")
        describe(made.outputs[0], made.name, value.shape, value.dtype)
        self.graph.insert_before(before, made)
        return made.outputs[0]

    def _dequantize(self, quantized: Any, scale: Any, original: Any, axis: int | None) -> Any:
        attributes = {} if axis is None else {"axis": axis}
        made = self.ir.node(
            "DequantizeLinear",
            [quantized, scale, self._zero(scale.shape)],
            attributes,
            name=f"dequantize/{quantized.name}",
        )
        describe(made.outputs[0], f"{quantized.name}/real", original.shape, original.dtype)
        return made

    def _zero(self, shape: Any) -> Any:
        """Zero points of the given shape."""
        zeros = np.zeros(tuple(shape), np.int8)
        name = f"int8/zero/{'x'.join(map(str, zeros.shape))}"
        return self.graph.initializers.get(name) or add_initializer(self.graph, name, zeros)
