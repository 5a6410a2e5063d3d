"""SmoothQuant's factors in a graph: no result changes, wherever the division goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import node, ops_of, rewritten, run, runnable, weights_of

from vpp_edge.export.precision.products import products_of_graph
from vpp_edge.export.precision.smoothing import input_channel_maxima, smooth_graph, smoothing_groups

RANDOM = np.random.default_rng(2)
X = RANDOM.standard_normal((6, 8), dtype=np.float32)
SQUARE = RANDOM.standard_normal((8, 8), dtype=np.float32)
TALL = RANDOM.standard_normal((5, 8), dtype=np.float32)
FACTOR = np.geomspace(0.05, 20, 8, dtype=np.float32)
NORM = {"g": RANDOM.uniform(0.5, 2, 8).astype(np.float32), "n": RANDOM.standard_normal(8, dtype=np.float32)}
SHAPE = {"x": (6, 8)}


def smoothed(source: Any, factor: np.ndarray = FACTOR) -> Any:
    """With the same factors in every group."""

    def rewrite(model: Any) -> None:
        groups = smoothing_groups(products_of_graph(model))
        smooth_graph(model, groups, {g.name: factor for g in groups})

    return rewritten(source, rewrite)


def groups_of(source: Any) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    found = []
    rewritten(source, lambda model: found.extend(smoothing_groups(products_of_graph(model))))
    return [(g.nodes, g.inputs) for g in found]


def unchanged(made: Any, source: Any) -> None:
    found, expected = run(made, {"x": X}), run(source, {"x": X})
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=2e-5 * np.abs(array).max())


def test_a_layer_norm_that_only_these_linears_read_takes_the_division() -> None:
    source = runnable(
        [node("LayerNormalization", "x g n", "h"), node("MatMul", "h w", "a"), node("Gemm", "h t b", "c", transB=1),
         node("MatMul", "c s", "d"), node("Add", "a d", "y")],
        SHAPE, {"y": (6, 8)}, {"w": SQUARE, "t": TALL, "b": TALL[:, 0], "s": TALL} | NORM,
    )  # fmt: skip
    assert groups_of(source)[0] == (("node_a", "node_c"), ("h",))

    def rewrite(model: Any) -> None:
        groups = smoothing_groups(products_of_graph(model))
        smooth_graph(model, groups, {"h": FACTOR})  # the group of `c` has none and is left alone

    made = rewritten(source, rewrite)
    assert ops_of(made) == ops_of(source)
    stored = weights_of(made)
    np.testing.assert_allclose(stored["h/smooth/1"], NORM["g"] / FACTOR)
    np.testing.assert_allclose(stored["h/smooth/2"], NORM["n"] / FACTOR)
    np.testing.assert_allclose(stored["t/smooth"], TALL * FACTOR)
    assert "s/smooth" not in stored
    unchanged(made, source)


def test_a_layer_norm_without_bias() -> None:
    source = runnable(
        [node("LayerNormalization", "x g", "h"), node("MatMul", "h w", "y")],
        SHAPE,
        {"y": (6, 8)},
        {"w": SQUARE, "g": NORM["g"]},
    )
    made = smoothed(source)
    assert "Mul" not in ops_of(made)
    unchanged(made, source)


def test_a_layer_norm_that_something_else_reads_is_divided_behind() -> None:
    source = runnable(
        [node("LayerNormalization", "x g n", "h"), node("MatMul", "h w", "a"), node("Add", "a h", "y")],
        SHAPE,
        {"y": (6, 8)},
        {"w": SQUARE} | NORM,
    )
    made = smoothed(source)
    assert ops_of(made) == ["LayerNormalization", "Mul", "MatMul", "Add"]
    unchanged(made, source)


def test_a_layer_norm_that_is_an_output_is_divided_behind() -> None:
    source = runnable(
        [node("LayerNormalization", "x g n", "h"), node("MatMul", "h w", "y")],
        SHAPE,
        {"h": (6, 8), "y": (6, 8)},
        {"w": SQUARE} | NORM,
    )
    unchanged(smoothed(source), source)


def test_layer_norms_that_share_their_parameters() -> None:
    source = runnable(
        [
            node("LayerNormalization", "x g n", "h"),
            node("MatMul", "h w", "a"),
            node("LayerNormalization", "a g n", "k"),
            node("MatMul", "k v", "b"),
            node("LayerNormalization", "b g n", "y"),
        ],
        SHAPE,
        {"y": (6, 8)},
        {"w": SQUARE, "v": SQUARE[::-1].copy()} | NORM,
    )
    made = smoothed(source)
    assert weights_of(made)["g"] is not None  # the last one still reads it
    unchanged(made, source)


def test_linears_with_the_same_weights_share_their_factors() -> None:
    """As the steps of a sampler do, each with another input."""
    source = runnable(
        [node("MatMul", "x w", "a"), node("Relu", "a", "r"), node("MatMul", "r w", "b"), node("Tanh", "b", "t"),
         node("MatMul", "t v", "c"), node("MatMul", "r u", "d"), node("Add", "c d", "y")],
        SHAPE, {"y": (6, 8)}, {"w": SQUARE, "v": SQUARE.T.copy(), "u": SQUARE[::-1].copy()},
    )  # fmt: skip
    # `r` joins what shares `w` with what reads `r`.
    assert groups_of(source) == [
        (("node_c",), ("t",)),
        (("node_a", "node_b", "node_d"), ("x", "r")),
    ]
    unchanged(smoothed(source), source)


def test_a_group_that_joins_two_others() -> None:
    source = runnable(
        [node("MatMul", "x w", "a"), node("Relu", "a", "r"), node("MatMul", "r v", "b"), node("Tanh", "b", "t"),
         node("MatMul", "r w", "c"), node("Add", "t c", "y")],
        SHAPE, {"y": (6, 8)}, {"w": SQUARE, "v": SQUARE.T.copy()},
    )  # fmt: skip
    assert len(groups_of(source)) == 1
    unchanged(smoothed(source), source)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_both_ways_round(transposed: int) -> None:
    weight = TALL if transposed else TALL.T.copy()
    source = runnable(
        [node("Relu", "x", "r"), node("Gemm", "r w b", "y", transB=transposed)],
        SHAPE,
        {"y": (6, 5)},
        {"w": weight, "b": TALL[:, 0]},
    )
    made = smoothed(source)
    expected = TALL * FACTOR if transposed else (TALL * FACTOR).T
    np.testing.assert_allclose(weights_of(made)["w/smooth"], expected, rtol=1e-6)
    unchanged(made, source)


def test_a_stage_input_is_divided_too() -> None:
    source = runnable([node("MatMul", "x w", "a"), node("Sub", "x a", "y")], SHAPE, {"y": (6, 8)}, {"w": SQUARE})
    made = smoothed(source)
    assert made.graph.input == source.graph.input
    unchanged(made, source)


def test_a_convolution_is_divided_along_its_channels() -> None:
    kernel = RANDOM.standard_normal((5, 8, 3, 3), dtype=np.float32)
    source = runnable(
        [node("Relu", "x", "r"), node("Conv", "r k", "y", pads=[1, 1, 1, 1])],
        {"x": (2, 8, 4, 4)},
        {"y": (2, 5, 4, 4)},
        {"k": kernel},
    )
    made = smoothed(source)
    np.testing.assert_allclose(weights_of(made)["k/smooth"], kernel * FACTOR[:, None, None], rtol=1e-6)
    image = {"x": RANDOM.standard_normal((2, 8, 4, 4), dtype=np.float32)}
    found, expected = run(made, image)["y"], run(source, image)["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_attentions_and_grouped_convolutions_are_not_smoothed() -> None:
    grouped = np.ones((8, 1, 1), np.float32)
    source = runnable([node("Conv", "x k", "y", group=8)], {"x": (1, 8, 4)}, {"y": (1, 8, 4)}, {"k": grouped})
    assert groups_of(source) == []
    source = runnable([node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "x t", "y")], SHAPE, {"y": (6, 6)}, {})
    assert groups_of(source) == []


def test_maxima_of_weights_are_those_that_an_input_channel_meets() -> None:
    source = runnable(
        [node("MatMul", "x w", "a"), node("Gemm", "x t", "b", transB=1), node("Neg", "b", "y")],
        SHAPE,
        {"y": (6, 5), "a": (6, 8)},
        {"w": SQUARE, "t": TALL},
    )
    found: list[np.ndarray] = []

    def rewrite(model: Any) -> None:
        (group,) = smoothing_groups(products_of_graph(model))
        found.append(input_channel_maxima(model, group))

    rewritten(source, rewrite)
    expected = np.maximum(np.abs(SQUARE).max(axis=1), np.abs(TALL).max(axis=0))
    np.testing.assert_array_equal(found[0], expected)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=8))
def test_no_factor_changes_the_result(factors: list[float]) -> None:
    source = runnable(
        [
            node("LayerNormalization", "x g n", "h"),
            node("MatMul", "h w", "a"),
            node("Relu", "a", "r"),
            node("Gemm", "r t", "y", transB=1),
        ],
        SHAPE,
        {"y": (6, 5)},
        {"w": SQUARE, "t": TALL} | NORM,
    )
    unchanged(smoothed(source, np.array(factors, np.float32)), source)
