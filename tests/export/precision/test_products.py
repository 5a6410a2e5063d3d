"""Products of a graph: their layers, their work as the cost model counts it, and why some stay out of INT8."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_graphs import node, rewritten, runnable, weights_of

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.quantization import Product
from vpp_edge.export.counting import graph_from_model
from vpp_edge.export.precision.lower import stage_products
from vpp_edge.export.precision.products import fold_transposed_weights, products_of_graph

SQUARE = np.random.default_rng(3).standard_normal((8, 8), dtype=np.float32)


def products_of(source: Any) -> dict[str, Product]:
    found: list[Product] = []
    rewritten(source, lambda model: found.extend(products_of_graph(model)))
    return {p.node: p for p in found}


def test_layers_are_the_modules_of_weights_biases_or_neighbours() -> None:
    """The exporter loses the name of a weight that it transposed; an attention has none."""
    source = runnable(
        [node("MatMul", "x block.1.q.weight", "a"), node("MatMul", "x val_3", "b"),
         node("Add", "b block.1.k.bias", "c"),
         node("Transpose", "c", "t", perm=[1, 0]), node("MatMul", "a t", "s"), node("MatMul", "s c", "d"),
         node("MatMul", "d block.1.out.weight.T", "e"), node("MatMul", "e val_4", "y")],
        {"x": (8, 8)}, {"y": (8, 8)},
        {"block.1.q.weight": SQUARE, "val_3": SQUARE, "block.1.k.bias": SQUARE[0], "block.1.out.weight.T": SQUARE,
         "val_4": SQUARE},
    )  # fmt: skip
    found = products_of(source)
    assert [p.layer for p in found.values()] == [
        "block.1.q",
        "block.1.k",
        "block.1.attend",
        "block.1.attend",
        "block.1.out",
        "node_y",
    ]
    assert found["node_s"].activations == ("a", "t") and found["node_s"].weight is None
    assert (found["node_b"].activations, found["node_b"].weight) == (("x",), "val_3")
    assert {p.macs for p in found.values()} == {8 * 8 * 8}
    assert not any(p.reason for p in found.values())


def test_reasons() -> None:
    source = runnable(
        [node("Conv", "image first.weight", "a"), node("Conv", "a inner.weight", "b"),
         node("Conv", "b last.weight", "c"),
         node("MatMul", "text_hidden key.weight", "k"), node("MatMul", "b batched", "d"),
         node("ReduceSum", "k", "e", keepdims=0), node("Add", "d e", "y")],
        {"image": (1, 3, 8, 8), "text_hidden": (4, 8)}, {"y": (1, 8, 8, 8), "c": (1, 4, 8, 8)},
        {"first.weight": np.ones((8, 3, 1, 1), np.float32), "inner.weight": np.ones((8, 8, 1, 1), np.float32),
         "last.weight": np.ones((4, 8, 1, 1), np.float32), "key.weight": SQUARE,
         "batched": np.ones((1, 8, 8, 8), np.float32)},
    )  # fmt: skip
    assert {p.layer: p.reason for p in products_of(source).values()} == {
        "first": "first or last convolution",
        "inner": "",
        "last": "first or last convolution",
        "key": "computed from the instruction alone",
        "node_d": "batched weights",
    }


def test_a_transposed_weight_is_folded_once() -> None:
    source = runnable(
        [
            node("Transpose", "fc.weight", "t", perm=[1, 0]),
            node("Transpose", "fc.weight", "u", perm=[1, 0]),
            node("MatMul", "x t", "a"),
            node("MatMul", "a u", "y"),
        ],
        {"x": (2, 8)},
        {"y": (2, 8)},
        {"fc.weight": SQUARE},
    )
    made = rewritten(source, fold_transposed_weights)
    assert [n.op_type for n in made.graph.node] == ["MatMul", "MatMul"]
    stored = weights_of(made)
    assert list(stored) == ["fc.weight.T"]
    np.testing.assert_array_equal(stored["fc.weight.T"], SQUARE.T)
    assert [p.layer for p in products_of(made).values()] == ["fc", "fc"]


@pytest.mark.parametrize("stage", ["perceive", "act"])
def test_work_is_what_the_cost_model_counts(small_bundle: Path, stage: str) -> None:
    graph = small_bundle / Bundle(small_bundle).stage(stage).graph
    products = stage_products(graph)
    counted = graph_from_model(onnx.load(graph, load_external_data=False))
    # In order and not by name: what is inside a function has no name in the file.
    assert [2 * p.macs for p in products] == [n.matrix_operations for n in counted.nodes if n.matrix_operations]
    assert all(p.layer and "/" not in p.layer and not p.layer.endswith(".T") for p in products)
    reasons = Counter(p.reason for p in products)
    if stage == "act":
        assert set(reasons) == {""}
        return
    able = [p for p in products if not p.reason]
    assert sum(p.macs for p in able) > 0.9 * sum(p.macs for p in products)
    assert {p.layer for p in products if p.reason == "first or last convolution"} >= {"reader.encoder.conv_in"}
    assert any(p.layer.endswith(".attend") for p in able)
