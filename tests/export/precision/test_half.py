"""FP16 graphs: every edge has a type that ONNX agrees with, the signature stays, and the numbers stay near."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from onnx_graphs import kinds, node, ops_of, rewritten, run, runnable, weights_of

from vpp_edge.export.precision.half import HALF_MAX, half_array, half_graph

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((4, 8), dtype=np.float32)
W = RANDOM.standard_normal((8, 8), dtype=np.float32) / 3
SHAPE = {"x": (4, 8)}


def half(source: Any, wide: Collection[str] = ()) -> Any:
    """The FP16 form, which says the same of its inputs and outputs as before."""
    made = rewritten(source, lambda model: half_graph(model, wide))
    assert made.graph.input == source.graph.input
    assert made.graph.output == source.graph.output
    return made


def casts(made: Any) -> dict[str, str]:
    return {n.input[0]: n.output[0] for n in made.graph.node if n.op_type == "Cast"}


def close(made: Any, source: Any, feeds: dict[str, np.ndarray], error: float = 2e-3) -> None:
    for optimized in (True, False):
        found, expected = run(made, feeds, optimized), run(source, feeds)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_allclose(found[name], array, atol=error * np.abs(array).max(), rtol=0)


def test_everything_between_the_casts_of_the_signature_is_half() -> None:
    source = runnable(
        [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("LayerNormalization", "b g", "y")],
        SHAPE,
        {"y": (4, 8)},
        {"w": W, "g": np.ones(8, np.float32)},
    )
    made = half(source)
    found = kinds(made)
    assert {n for n, kind in found.items() if kind == "FLOAT"} == {"x", "y"}
    assert ops_of(made) == ["Cast", "MatMul", "Relu", "LayerNormalization", "Cast"]
    assert {a.dtype for a in weights_of(made).values()} == {np.dtype(np.float16)}
    close(made, source, {"x": X})


def test_wide_nodes_stay_in_float32_between_casts() -> None:
    source = runnable(
        [node("MatMul", "x w", "a"), node("Add", "a c", "b"), node("Relu", "b", "y")],
        SHAPE,
        {"y": (4, 8)},
        {"w": W, "c": np.ones(8, np.float32)},
    )
    made = half(source, {"node_b"})
    found = kinds(made)
    assert (found["a"], found["b"], found["c"]) == ("FLOAT16", "FLOAT", "FLOAT")
    assert ops_of(made) == ["Cast", "MatMul", "Cast", "Add", "Cast", "Relu", "Cast"]
    close(made, source, {"x": X})


def test_all_wide_is_the_graph_itself() -> None:
    source = runnable([node("MatMul", "x w", "a"), node("Relu", "a", "y")], SHAPE, {"y": (4, 8)}, {"w": W})
    made = half(source, {"node_a", "node_y"})
    assert ops_of(made) == ["MatMul", "Relu"]
    np.testing.assert_array_equal(run(made, {"x": X})["y"], run(source, {"x": X})["y"])


def test_a_tensor_is_cast_once_however_many_read_it() -> None:
    """A graph input that wide and half nodes read, and a half result that two wide nodes read."""
    source = runnable(
        [node("MatMul", "x w", "a"), node("Tanh", "x", "b"), node("Add", "a x", "c"), node("Sub", "c b", "d"),
         node("Mul", "c d", "y")],
        SHAPE, {"y": (4, 8)}, {"w": W},
    )  # fmt: skip
    made = half(source, {"node_d", "node_y"})
    assert set(casts(made)) == {"x", "c", "b"}
    assert ops_of(made).count("Cast") == 3
    close(made, source, {"x": X})


def test_an_initializer_that_both_precisions_read_is_there_in_both() -> None:
    source = runnable(
        [node("MatMul", "x w", "a"), node("MatMul", "a w", "b"), node("MatMul", "b w", "y")],
        SHAPE,
        {"y": (4, 8)},
        {"w": W},
    )
    made = half(source, {"node_b"})
    stored = weights_of(made)
    assert {name: a.dtype for name, a in stored.items()} == {"w": np.float32, "w/half": np.float16}
    close(made, source, {"x": X})


def test_an_output_that_others_read_keeps_its_name_and_type() -> None:
    source = runnable(
        [node("MatMul", "x w", "y"), node("Relu", "y", "z"), node("Neg", "y", "w2")],
        SHAPE,
        {"y": (4, 8), "z": (4, 8), "w2": (4, 8)},
        {"w": W},
    )
    made = half(source, {"node_w2"})
    assert kinds(made)["y/half"] == "FLOAT16"
    close(made, source, {"x": X})


def test_a_mask_stays_finite() -> None:
    mask = np.where(np.tri(4, dtype=bool), 0, -3.4028235e38).astype(np.float32)
    source = runnable(
        [node("MatMul", "x v", "a"), node("Add", "a m", "b"), node("Softmax", "b", "y")],
        SHAPE,
        {"y": (4, 4)},
        {"v": W[:, :4], "m": mask},
    )
    made = half(source)
    stored = weights_of(made)["m/half"]
    assert np.isfinite(stored).all() and stored.min() == -HALF_MAX
    close(made, source, {"x": X})


@pytest.mark.parametrize("wide", [(), ("node_a",)])
def test_numbers_that_an_operator_wants_in_float32_stay_so(wide: tuple[str, ...]) -> None:
    image, sizes = {"x": (1, 2, 4, 4)}, np.array([1, 1, 2, 2], np.float32)
    source = runnable(
        [node("Resize", "x roi s", "a", mode="nearest"), node("Relu", "a", "y")],
        image,
        {"y": (1, 2, 8, 8)},
        {"s": sizes, "roi": np.zeros(0, np.float32)},
    )
    made = half(source, wide)
    assert kinds(made)["s"] == "FLOAT"
    close(made, source, {"x": RANDOM.standard_normal((1, 2, 4, 4), dtype=np.float32)})


def test_integers_and_booleans_pass_through() -> None:
    source = runnable(
        [node("Greater", "x c", "over"), node("Cast", "over", "f", to=1), node("Mul", "f x", "p"),
         node("Where", "over p x", "q"), node("Gather", "q i", "y", axis=1)],
        SHAPE, {"y": (4, 2)}, {"c": np.zeros((), np.float32), "i": np.array([1, 3])},
    )  # fmt: skip
    made = half(source)
    found = kinds(made)
    assert (found["over"], found["i"], found["f"]) == ("BOOL", "INT64", "FLOAT16")
    close(made, source, {"x": X})


def test_an_input_that_is_an_output_of_its_own_is_left_alone() -> None:
    source = runnable([node("Identity", "x", "y")], SHAPE, {"y": (4, 8)}, {})
    close(half(source), source, {"x": X})


def test_what_is_too_large_becomes_the_largest_number() -> None:
    array = np.array([-3.4e38, -65504, -1e-3, 0, 70000, np.float32(3.4e38)], np.float32)
    found = half_array(array)
    assert found.dtype == np.float16
    assert found[[0, 1, 4, 5]].tolist() == [-HALF_MAX, -HALF_MAX, HALF_MAX, HALF_MAX]
    assert found[2] == np.float16(-1e-3)
