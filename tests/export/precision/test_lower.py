"""Whole stages in lower precision: which nodes stay wide and that it helps, files with their weights, a wrong table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_graphs import kinds, node, run, runnable

from vpp_edge.bundle.quantization import SWITCH, StageTable
from vpp_edge.errors import BadInputError
from vpp_edge.export.precision.lower import float_tensors, wide_nodes, write_lowered, write_switched

RANDOM = np.random.default_rng(4)
X = {"x": RANDOM.standard_normal((4, 8), dtype=np.float32)}
W = {"a.weight": RANDOM.standard_normal((8, 8), dtype=np.float32)}
CHUNK = (1, 3, 2)


def saved(source: Any, folder: Path) -> Path:
    onnx.save(source, folder / "source.onnx")
    return folder / "source.onnx"


def close(target: Path, source: Any, error: float) -> None:
    expected, found = run(source, X)["y"], run(onnx.load(target), X)["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=error * np.abs(expected).max())


@pytest.fixture
def overflowing() -> Any:
    """Activations of 1e6, which FP16 does not have, brought back by a norm."""
    return runnable(
        [node("MatMul", "x a.weight", "a"), node("Mul", "a big", "b"), node("Add", "b x", "c"),
         node("LayerNormalization", "c g", "d"), node("MatMul", "d a.weight", "y")],
        {"x": (4, 8)}, {"y": (4, 8)}, W | {"big": np.float32(1e6), "g": np.ones(8, np.float32)},
    )  # fmt: skip


@pytest.mark.parametrize("simulated", [False, True])
def test_a_tensor_beyond_fp16_keeps_its_producer_and_readers_in_float32(
    overflowing: Any, tmp_path: Path, simulated: bool
) -> None:
    source, target = saved(overflowing, tmp_path), tmp_path / "half.onnx"
    largest = {"a": 5.0, "b": 5e6, "c": 5e6, "d": 3.0, "y": 9.0, "x": 3.0}
    wide = wide_nodes(source, largest, CHUNK)
    assert wide == {"node_b", "node_c", "node_d"}
    write_lowered(source, target, wide, simulated=simulated)
    close(target, overflowing, 5e-3)
    if not simulated:
        found = kinds(onnx.load(target))
        assert (found["b"], found["c"], found["a"]) == ("FLOAT", "FLOAT", "FLOAT16")
    write_lowered(source, target, (), simulated=True)  # all of it in FP16 is wrong
    assert not np.allclose(run(onnx.load(target), X)["y"], run(overflowing, X)["y"], atol=0.1)


def test_headroom_is_left_for_what_was_not_seen(overflowing: Any, tmp_path: Path) -> None:
    source = saved(overflowing, tmp_path)
    assert wide_nodes(source, {"b": 65504 / 8 - 1}, CHUNK) == set()
    assert wide_nodes(source, {"b": 65504 / 8 + 1}, CHUNK) == {"node_b", "node_c"}


def test_arithmetic_on_whole_chunks_stays_wide(tmp_path: Path) -> None:
    shape = {"x": CHUNK, "n": CHUNK}
    source = saved(
        runnable(
            [node("Mul", "x s", "a"), node("Sub", "n a", "b"), node("Relu", "b", "c"), node("Add", "c r", "y")],
            shape,
            {"y": CHUNK},
            {"s": np.float32(2), "r": np.ones((1, 1, 2), np.float32)},
        ),
        tmp_path,
    )
    assert wide_nodes(source, {}, CHUNK) == {"node_a", "node_b", "node_y"}
    assert float_tensors(source) == ["a", "b", "c", "y"]


def test_what_is_kept_high_or_wide_is_not_quantized(overflowing: Any, tmp_path: Path) -> None:
    source, target = saved(overflowing, tmp_path), tmp_path / "int8.onnx"
    wide = wide_nodes(source, {"b": 5e6, "c": 5e6}, CHUNK)
    table = StageTable("0", {"x": 4.0, "d": 3.0})
    assert write_lowered(source, target, wide, table) == 2 * 4 * 8 * 8
    assert [n.op_type for n in onnx.load(target).graph.node].count("QuantizeLinear") == 2
    assert write_lowered(source, target, {*wide, "node_y"}, table) == 4 * 8 * 8
    assert write_lowered(source, target, wide, table=table, high={"a"}) == 0
    assert "QuantizeLinear" not in [n.op_type for n in onnx.load(target).graph.node]


@pytest.mark.parametrize("simulated", [False, True])
def test_the_simulation_and_the_file_round_alike(overflowing: Any, tmp_path: Path, simulated: bool) -> None:
    source, target = saved(overflowing, tmp_path), tmp_path / "int8.onnx"
    table = StageTable("0", {"x": 4.0, "d/smooth": 3.0, "d": 3.0}, {})
    write_lowered(source, target, {"node_b", "node_c", "node_d"}, table, simulated=simulated)
    close(target, overflowing, 0.05)


def test_smoothed_switched_and_off_is_float32(overflowing: Any, tmp_path: Path) -> None:
    source, target = saved(overflowing, tmp_path), tmp_path / "switched.onnx"
    table = StageTable("0", {"x/smooth": 4.0, "d": 3.0}, {"x": tuple(np.geomspace(0.1, 10, 8))})
    products = write_switched(source, target, table)
    off = {SWITCH + p.node: np.array(False) for p in products}
    expected = run(overflowing, X)["y"]
    found = run(onnx.load(target), X | off)["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_table_of_another_graph_is_refused(overflowing: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no range for 2 tensors of this graph, such as 'd'"):
        write_lowered(saved(overflowing, tmp_path), tmp_path / "int8.onnx", (), StageTable("0", {"other": 1.0}))
