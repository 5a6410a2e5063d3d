"""INT8 graphs: what is rounded and how, that ONNX Runtime with all optimizations computes just that, and switches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx_graphs import kinds, node, ops_of, rewritten, run, runnable, weights_of

from vpp_edge.bundle.quantization import SWITCH
from vpp_edge.export.precision.half import half_graph
from vpp_edge.export.precision.products import products_of_graph
from vpp_edge.export.precision.quantize import int8_weight, quantize_products, scale_of

RANDOM = np.random.default_rng(1)
X = RANDOM.standard_normal((6, 8), dtype=np.float32)
W = RANDOM.standard_normal((8, 5), dtype=np.float32) * np.geomspace(0.1, 10, 5, dtype=np.float32)
BIAS = RANDOM.standard_normal(5, dtype=np.float32)
RANGE = 2.5  # some of X lies beyond


def quantized(source: Any, ranges: dict[str, float], switched: bool = False, half: bool = False) -> Any:
    def rewrite(model: Any) -> None:
        products = products_of_graph(model)
        if half:
            half_graph(model, ())
        quantize_products(model, products, ranges, switched)

    return rewritten(source, rewrite)


def rounded(array: np.ndarray, largest: float) -> np.ndarray:
    """What an activation becomes, in numpy."""
    scale = np.float32(largest) / np.float32(127)
    return np.clip(np.rint(array / scale), -128, 127).astype(np.float32) * scale


def rounded_weight(array: np.ndarray, axis: int | None) -> np.ndarray:
    levels, scales = int8_weight(array, axis)
    if axis is not None:
        scales = scales.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    return levels.astype(np.float32) * scales


def linear(op: str, bias: bool) -> tuple[Any, np.ndarray, int]:
    """A graph of one product, its weights, and the axis of its output channels."""
    if op == "MatMul":
        nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "y")] if bias else [node("MatMul", "x w", "y")]
        weight, axis = W, 1
    else:
        transposed = op == "Gemm transB"
        nodes = [node("Gemm", "x w b" if bias else "x w", "y", transB=int(transposed))]
        weight, axis = (W.T.copy(), 0) if transposed else (W, 1)
    constants = {"w": weight, "b": BIAS} if bias else {"w": weight}
    return runnable(nodes, {"x": (6, 8)}, {"y": (6, 5)}, constants), weight, axis


class TestProducts:
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("op", ["MatMul", "Gemm", "Gemm transB"])
    def test_linears_have_a_scale_per_output_channel(self, op: str, bias: bool) -> None:
        source, weight, axis = linear(op, bias)
        made = quantized(source, {"x": RANGE})
        stored = weights_of(made)
        (scales,) = [a for name, a in stored.items() if name.startswith("w/") and name.endswith("scale")]
        np.testing.assert_allclose(scales, np.abs(W).max(axis=0) / 127, rtol=1e-6)
        if bias:
            np.testing.assert_array_equal(stored["b"], BIAS)  # in floating point, and nothing before it
        assert all(len(n.input) == 3 for n in made.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear"))
        real = rounded_weight(weight, axis)
        expected = rounded(X, RANGE) @ (real if axis == 1 else real.T) + (BIAS if bias else 0)
        for optimized in (True, False):
            found = run(made, {"x": X}, optimized)["y"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_a_linear_of_three_axes_survives_the_optimizer(self) -> None:
        """ONNX Runtime 1.32 turns it and its bias into a wrong Gemm where a DequantizeLinear has no zero point."""
        x = np.stack([X, 2 * X, -X])
        source = runnable(
            [node("MatMul", "x w", "a"), node("Add", "a b", "y")], {"x": x.shape}, {"y": (3, 6, 5)}, {"w": W, "b": BIAS}
        )
        made = quantized(source, {"x": 2 * RANGE})
        expected = rounded(x, 2 * RANGE) @ rounded_weight(W, 1) + BIAS
        for optimized in (True, False):
            found = run(made, {"x": x}, optimized)["y"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_convolutions_have_a_scale_per_output_channel(self) -> None:
        kernel = RANDOM.standard_normal((5, 8, 3, 3), dtype=np.float32)
        image = RANDOM.standard_normal((1, 8, 6, 6), dtype=np.float32)
        source = runnable(
            [node("Conv", "x w b", "y", pads=[1, 1, 1, 1])],
            {"x": image.shape},
            {"y": (1, 5, 6, 6)},
            {"w": kernel, "b": BIAS},
        )
        made = quantized(source, {"x": RANGE})
        stored = weights_of(made)
        assert {a.shape for n, a in stored.items() if n.endswith("scale")} == {(5,), ()}
        simulated = runnable(
            [node("Conv", "x w b", "y", pads=[1, 1, 1, 1])],
            {"x": image.shape},
            {"y": (1, 5, 6, 6)},
            {"w": rounded_weight(kernel, 0), "b": BIAS},
        )
        expected = run(simulated, {"x": rounded(image, RANGE)})["y"]
        for optimized in (True, False):
            found = run(made, {"x": image}, optimized)["y"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_both_operands_of_an_attention_are_rounded(self) -> None:
        """Its second operand behind a Transpose, which Q and DQ stand behind."""
        keys = RANDOM.standard_normal((7, 8), dtype=np.float32)
        source = runnable(
            [node("Transpose", "k", "t", perm=[1, 0]), node("MatMul", "x t", "y")],
            {"x": (6, 8), "k": (7, 8)},
            {"y": (6, 7)},
            {},
        )
        made = quantized(source, {"x": RANGE, "t": 3.0})
        expected = rounded(X, RANGE) @ rounded(keys, 3.0).T
        for optimized in (True, False):
            found = run(made, {"x": X, "k": keys}, optimized)["y"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_batched_weights_have_one_scale(self) -> None:
        weight = RANDOM.standard_normal((2, 8, 5), dtype=np.float32)
        source = runnable([node("MatMul", "x w", "y")], {"x": (2, 6, 8)}, {"y": (2, 6, 5)}, {"w": weight})
        made = quantized(source, {"x": RANGE})
        assert weights_of(made)["w/scale"].shape == ()
        batch = np.stack([X, -X])
        expected = rounded(batch, RANGE) @ rounded_weight(weight, None)
        np.testing.assert_allclose(run(made, {"x": batch})["y"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_a_shared_activation_is_quantized_once_and_other_readers_get_the_original(self) -> None:
        source = runnable(
            [node("Relu", "x", "r"), node("MatMul", "r w", "a"), node("MatMul", "r v", "b"), node("Add", "a b", "c"),
             node("ReduceMax", "r", "m", keepdims=1), node("Add", "c m", "y")],
            {"x": (6, 8)}, {"y": (6, 5)}, {"w": W, "v": W[::-1].copy()},
        )  # fmt: skip
        made = quantized(source, {"r": RANGE})
        assert ops_of(made).count("QuantizeLinear") == 1
        (largest,) = [n for n in made.graph.node if n.op_type == "ReduceMax"]
        assert largest.input[0] == "r"
        relu = np.maximum(X, 0)
        low = rounded(relu, RANGE)
        expected = low @ rounded_weight(W, 1) + low @ rounded_weight(W[::-1].copy(), 1) + relu.max()
        np.testing.assert_allclose(run(made, {"x": X})["y"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_shared_weights_are_stored_once_for_each_axis(self) -> None:
        square = RANDOM.standard_normal((8, 8), dtype=np.float32)
        source = runnable(
            [node("Gemm", "x w", "a"), node("Gemm", "a w", "b"), node("Gemm", "b w", "y", transB=1)],
            {"x": (6, 8)},
            {"y": (6, 8)},
            {"w": square},
        )
        made = quantized(source, {"x": RANGE, "a": 9.0, "b": 30.0})
        assert sorted(n for n in weights_of(made) if n.startswith("w")) == [
            "w/0/int8",
            "w/0/scale",
            "w/1/int8",
            "w/1/scale",
        ]
        real = rounded_weight(square, 1)
        expected = rounded(rounded(rounded(X, RANGE) @ real, 9.0) @ real, 30.0) @ rounded_weight(square, 0).T
        np.testing.assert_allclose(run(made, {"x": X})["y"], expected, rtol=0, atol=0.01 * np.abs(expected).max())

    def test_a_product_that_is_an_output_too(self) -> None:
        source = runnable(
            [node("MatMul", "x w", "a"), node("MatMul", "a v", "y")],
            {"x": (6, 8)},
            {"a": (6, 5), "y": (6, 8)},
            {"w": W, "v": W.T.copy()},
        )
        made = quantized(source, {"x": RANGE, "a": 20.0})
        a = rounded(X, RANGE) @ rounded_weight(W, 1)
        np.testing.assert_allclose(run(made, {"x": X})["a"], a, rtol=0, atol=1e-5 * np.abs(a).max())


class TestHalf:
    def test_scales_have_the_type_of_the_tensor(self) -> None:
        source = runnable(
            [node("MatMul", "x w", "a"), node("Relu", "a", "r"), node("MatMul", "r v", "y")],
            {"x": (6, 8)},
            {"y": (6, 8)},
            {"w": W, "v": W.T.copy()},
        )
        made = quantized(source, {"x": RANGE, "r": 20.0}, half=True)
        assert {kind for name, kind in kinds(made).items() if name.endswith("/scale")} == {"FLOAT16"}
        assert {a.dtype.name for a in weights_of(made).values()} == {"float16", "int8"}
        expected = np.maximum(rounded(X, RANGE) @ rounded_weight(W, 1), 0)
        expected = rounded(expected, 20.0) @ rounded_weight(W.T.copy(), 1)
        found = run(made, {"x": X})["y"]
        assert np.sqrt(np.mean((found - expected) ** 2)) < 0.01 * np.sqrt(np.mean(expected**2))

    def test_tiny_ranges_keep_scales_that_are_normal_numbers(self) -> None:
        for dtype in (np.float16, np.float32):
            for largest in (0.0, 1e-6, 1e-30):
                scale = scale_of(largest, dtype)
                assert scale.dtype == dtype and scale >= np.finfo(dtype).tiny


class TestSwitches:
    @pytest.fixture
    def source(self) -> Any:
        return runnable(
            [node("MatMul", "x w", "a"), node("Add", "a b", "r"), node("MatMul", "r v", "c"),
             node("MatMul", "r v", "d"), node("Sub", "c d", "e"), node("Add", "e c", "y")],
            {"x": (6, 8)}, {"y": (6, 8)}, {"w": W, "b": BIAS, "v": W.T.copy()},
        )  # fmt: skip

    RANGES = {"x": RANGE, "r": 20.0}  # noqa: RUF012
    NODES = ("node_a", "node_c", "node_d")

    def switched(self, source: Any, *low: str) -> np.ndarray:
        made = quantized(source, self.RANGES, switched=True)
        assert [i.name for i in made.graph.input] == ["x", *(SWITCH + n for n in self.NODES)]
        return run(made, {"x": X} | {SWITCH + n: np.array(n in low) for n in self.NODES})["y"]

    def test_all_off_is_float32(self, source: Any) -> None:
        np.testing.assert_array_equal(self.switched(source), run(source, {"x": X}, optimized=False)["y"])

    def test_all_on_is_the_quantized_graph(self, source: Any) -> None:
        expected = run(quantized(source, self.RANGES), {"x": X}, optimized=False)["y"]
        np.testing.assert_allclose(self.switched(source, *self.NODES), expected, atol=1e-5 * np.abs(expected).max())

    def test_one_on_is_that_product_alone(self, source: Any) -> None:
        """Also where another product reads the same tensors."""
        found = self.switched(source, "node_d")
        r = X @ W + BIAS
        c, d = r @ W.T, rounded(r, 20.0) @ rounded_weight(W.T.copy(), 1)
        np.testing.assert_allclose(found, c - d + c, rtol=0, atol=1e-4 * np.abs(c).max())
        assert np.abs(found - c).max() > 1e-3


@settings(deadline=None, max_examples=200)
@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32]),
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.floats(-1000, 1000, width=16),
    ),
    st.sampled_from([None, 0, 1]),
)
def test_rounding_a_weight_costs_at_most_half_a_level(array: np.ndarray, axis: int | None) -> None:
    levels, scales = int8_weight(array, axis)
    assert levels.dtype == np.int8 and scales.dtype == array.dtype and np.all(scales > 0)
    assert levels.min() >= -127
    assert scales.shape == (() if axis is None else (array.shape[axis],))
    step = scales.astype(np.float64)
    if axis is not None:
        step = step.reshape([-1 if i == axis else 1 for i in range(array.ndim)])
    # A scale of FP16 that was rounded down makes the largest weights end up to 127 * 2^-11 levels beyond level 127.
    slack = 127 * 2.0**-11 if array.dtype == np.float16 else 1e-4
    assert np.all(np.abs(levels * step - array.astype(np.float64)) <= (0.5 + slack) * step)
