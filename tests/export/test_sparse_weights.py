"""2:4 sparse weights are found in graphs of every form, and stay sparse in FP16 and INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from onnx_graphs import node, runnable

from vpp_edge.bundle.quantization import StageTable
from vpp_edge.export.counting import graph_from_file
from vpp_edge.export.precision.lower import write_lowered
from vpp_edge.export.sparse_weights import is_two_of_four, sparse_products


def pruned(weight: np.ndarray, axis: int) -> np.ndarray:
    """The weight with the first two of each 4 consecutive numbers along an axis set to zero."""
    zeros = np.arange(weight.shape[axis]) % 4 < 2
    return np.where(zeros.reshape([-1 if i == axis else 1 for i in range(weight.ndim)]), np.float32(0), weight)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@given(
    npst.arrays(np.int8, npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=8), elements=st.integers(0, 1)),
    st.data(),
)
def test_it_is_the_pattern_of_tensorrts_documentation(weight: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, weight.ndim - 1))
    lines = np.moveaxis(weight, axis, -1).reshape(-1, weight.shape[axis])
    groups = [line[i : i + 4] for line in lines for i in range(0, len(line), 4)]
    expected = all(len(group) == 4 and np.count_nonzero(group) <= 2 for group in groups)
    assert is_two_of_four(weight, axis) == expected


def test_a_large_weight_with_one_number_too_many_is_dense() -> None:
    weight = pruned(np.ones((3000, 2000), np.float32), 1)
    assert is_two_of_four(weight, 1)
    weight[2999, 1996] = 1
    assert not is_two_of_four(weight, 1)


# The product, the weight's shape and the axis of it that is summed over, shapes of x and y.
FORMS: dict[str, tuple[Any, tuple[int, ...], int, tuple[int, ...], tuple[int, ...]]] = {
    "a product": (node("MatMul", "x w", "y"), (8, 12), 0, (3, 8), (3, 12)),
    "a product from the left": (node("MatMul", "w x", "y"), (12, 8), 1, (8, 3), (12, 3)),
    "a Gemm": (node("Gemm", "x w", "y"), (8, 12), 0, (3, 8), (3, 12)),
    "a Gemm, transposed": (node("Gemm", "x w", "y", transB=1), (12, 8), 1, (3, 8), (3, 12)),
    "a convolution": (node("Conv", "x w", "y"), (12, 8, 3, 3), 1, (1, 8, 5, 5), (1, 12, 3, 3)),
    "a convolution over frames": (node("Conv", "x w", "y"), (12, 8, 3, 1), 1, (1, 8, 5, 5), (1, 12, 3, 5)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_weight_is_judged_along_the_axis_that_is_summed_over(form: tuple[Any, ...], tmp_path: Path) -> None:
    product, shape, axis, x, y = form
    for sparse in (0, 1):  # along that axis only
        weight = pruned(drawn(*shape), sparse)
        made = runnable([product], {"x": x}, {"y": y}, {"w": weight})
        assert sparse_products(made, tmp_path) == ({0} if sparse == axis else set())


def test_a_weight_is_followed_through_transpositions_and_dequantization(tmp_path: Path) -> None:
    nodes = [
        node("DequantizeLinear", "w s", "real"),
        node("Transpose", "real", "t", perm=[1, 0]),
        node("MatMul", "x t", "y"),
    ]
    for axis in (0, 1):
        codes = pruned(np.clip(40 * drawn(12, 8), -127, 127), axis).astype(np.int8)
        made = runnable(nodes, {"x": (3, 8)}, {"y": (3, 12)}, {"w": codes, "s": np.float32(0.1)})
        assert sparse_products(made, tmp_path) == ({2} if axis == 1 else set())


def test_a_convolution_in_groups_gains_nothing(tmp_path: Path) -> None:
    weights = {"w": pruned(drawn(12, 8, 3, 3), 1)}
    made = runnable([node("Conv", "x w", "y", group=2)], {"x": (1, 16, 5, 5)}, {"y": (1, 12, 3, 3)}, weights)
    assert sparse_products(made, tmp_path) == set()


def test_lower_precision_keeps_the_zeros(tmp_path: Path) -> None:
    """Rounding, scales per channel, and SmoothQuant's factors."""
    nodes = [
        node("Conv", "x k", "h", pads=[1] * 4),
        node("Relu", "h", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 3, 1]),
        node("MatMul", "t m", "y"),
    ]
    weights = {"k": pruned(drawn(16, 8, 3, 3), 1), "m": pruned(drawn(16, 12), 0)}
    made = runnable(nodes, {"x": (1, 8, 5, 5)}, {"y": (1, 5, 5, 12)}, weights)
    source = tmp_path / "act.onnx"
    onnx.save(made, source)
    assert graph_from_file(source).sparse_share() == 1
    write_lowered(source, tmp_path / "fp16.onnx", ())
    assert graph_from_file(tmp_path / "fp16.onnx").sparse_share() == 1
    smoothing = {"x": tuple(np.geomspace(0.1, 10, 8)), "t": tuple(np.geomspace(10, 0.1, 16))}
    table = StageTable("0", {"x/smooth": 4.0, "t/smooth": 3.0}, smoothing)
    assert write_lowered(source, tmp_path / "int8.onnx", (), table)
    lowered = graph_from_file(tmp_path / "int8.onnx")
    assert lowered.quantized and lowered.sparse_share() == 1


def test_the_weights_of_an_exported_stage_are_found_in_their_file(bundle_copy: Path) -> None:
    graph = bundle_copy / "onnx" / "perceive.onnx"
    before = graph_from_file(graph)
    assert not before.sparse
    for initializer in onnx.load(graph, load_external_data=False).graph.initializer:
        where = {entry.key: entry.value for entry in initializer.external_data}
        if len(initializer.dims) == 4 and where:
            mapped = np.memmap(
                graph.with_name(where["location"]), np.float32, "r+", int(where["offset"]), tuple(initializer.dims)
            )
            mapped[:] = pruned(mapped, 1)
            mapped.flush()
    convolutions = sum(n.matrix_operations for n in before.nodes if n.op == "Conv")
    few = sum(n.matrix_operations for n in before.nodes if n.op == "Conv" and before.tensors[n.inputs[1]].shape[1] % 4)
    assert graph_from_file(graph).sparse_share() == pytest.approx((convolutions - few) / before.matrix_operations())
