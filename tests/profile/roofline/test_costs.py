"""Floors and predictions against hand counts, the INT8 rule, and what must hold for every device and precision."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
from onnx import TensorProto, helper
from onnx_graphs import model, node

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.bundle.work import Graph
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError
from vpp_edge.export.counting import graph_from_model, graph_of_stage
from vpp_edge.profile.roofline.accelerators import (
    BANDWIDTH,
    DEVICES,
    EFFICIENCIES,
    KERNEL_S,
    SPARSE_CHANNELS,
    Device,
)
from vpp_edge.profile.roofline.costs import DISABLE, ENABLE, FORCE, Cost, costs_of_graph, int8_nodes, with_sparsity
from vpp_edge.profile.roofline.prediction import predict_bundle

DEVICE = Device(name="test", fp32_tops=1.0, fp16_tops=4.0, int8_tops=8.0, bandwidth_gb_s=100.0, source="by hand")
STAGES = ("text", "perceive", "act")


def two_products(channels: int = 1024, rows: int = 4096) -> Graph:
    c = channels
    nodes = [node("MatMul", "x w1", "a"), node("Relu", "a", "r"), node("MatMul", "r w2", "y")]
    shapes = {"a": (rows, c), "r": (rows, c)}
    return graph_from_model(model(nodes, {"x": (rows, c)}, {"y": (rows, c)}, {"w1": (c, c), "w2": (c, c)}, shapes))


def test_a_large_product_is_bound_by_its_operations() -> None:
    cost = costs_of_graph(two_products(), DEVICE, "fp16")[0]
    assert cost.matrix_operations == 2 * 4096 * 1024 * 1024
    assert cost.weight_bytes == 2 * 1024 * 1024 and cost.activation_bytes == 2 * (2 * 4096 * 1024)
    assert cost.floor_s == pytest.approx(2 * 4096 * 1024 * 1024 / 4e12)
    assert cost.predicted_s == pytest.approx(cost.floor_s / EFFICIENCIES["gemm", "fp16"].share)
    assert cost.bound == "compute"


def test_one_row_is_bound_by_the_weights() -> None:
    cost = costs_of_graph(two_products(rows=1), DEVICE, "fp16")[0]
    assert cost.floor_s == pytest.approx((2 * 1024 * 1024 + 2 * 2 * 1024) / 100e9)
    assert cost.predicted_s == pytest.approx(cost.floor_s / BANDWIDTH.share)
    assert cost.bound == "memory"


def test_sparse_weights_halve_the_floor_and_gain_a_sixth() -> None:
    """1.2 times as fast; half of the weights, and two bits for the place of each."""
    for precision, element in (("fp16", 2), ("int8", 1)):
        dense, sparse = (
            costs_of_graph(with_sparsity(two_products(), choice), DEVICE, precision)[0] for choice in (DISABLE, FORCE)
        )
        assert sparse.floor_s == pytest.approx(dense.floor_s / 2)
        assert sparse.predicted_s == pytest.approx(dense.predicted_s / 1.2)
        assert sparse.weight_bytes == 1024 * 1024 * (element / 2 + 1 / 8)
        assert sparse.sparse and not dense.sparse


def test_few_channels_and_float32_gain_nothing_from_sparse_weights() -> None:
    narrow, wide = two_products(SPARSE_CHANNELS - 4, 1 << 20), two_products()
    for graph, precision in ((narrow, "fp16"), (wide, "fp32")):
        dense, sparse = (costs_of_graph(with_sparsity(graph, c), DEVICE, precision)[0] for c in (DISABLE, FORCE))
        assert sparse.predicted_s == dense.predicted_s
        assert sparse.sparse == (precision == "fp16")


def test_weights_count_as_sparse_where_the_graph_says_so() -> None:
    graph = replace(two_products(), sparse=frozenset({0}))
    assert graph.sparse_share() == 0.5
    assert [c.sparse for c in costs_of_graph(with_sparsity(graph, ENABLE), DEVICE, "int8")] == [True, False]
    assert not any(c.sparse for c in costs_of_graph(with_sparsity(graph, DISABLE), DEVICE, "int8"))


def test_the_command_predicts_what_sparse_weights_could_gain(
    small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["profile", str(small_bundle), "--roofline", "orin-agx-64gb", "--precision", "int8"]
    assert main(words) == 0
    assert "2:4" not in capsys.readouterr().out
    assert main([*words, "--sparsity", "force", "--top", "0"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "85 / 170 TOP/s in FP16 / INT8" in said and "2:4 sparse 60%: times the share of the dense kernel" in said
    assert main([*words, "--sparsity", "force", "--json"]) == 0
    assert 0.5 < json.loads(capsys.readouterr().out)["stages"]["perceive"]["sparse_share"] < 1
    assert main(["profile", str(small_bundle), "--sparsity", "force"]) == 2
    assert "--sparsity is for --roofline DEVICE" in capsys.readouterr().err
    with pytest.raises(BadInputError, match="unknown sparsity 'some'; expected one of enable, disable, force"):
        predict_bundle(Bundle(small_bundle), DEVICES["orin-agx-64gb"], sparsity="some")


def test_a_tiny_kernel_takes_the_shortest_time() -> None:
    cost = costs_of_graph(two_products(32, 1), DEVICE, "fp16")[0]
    assert cost.predicted_s == KERNEL_S and cost.bound == "kernel" and cost.floor_s < KERNEL_S


def test_a_long_pointwise_chain_is_bound_by_its_arithmetic() -> None:
    steps = 200
    nodes = [node("Relu", f"t{i}", f"t{i + 1}") for i in range(steps)]
    shapes = {f"t{i}": (1000, 1000) for i in range(1, steps)}
    (cost,) = costs_of_graph(
        graph_from_model(model(nodes, {"t0": (1000, 1000)}, {f"t{steps}": (1000, 1000)}, inner=shapes)), DEVICE, "fp16"
    )
    assert cost.bound == "vector" and cost.activation_bytes == 2 * 2 * 1e6
    assert cost.floor_s == pytest.approx(steps * 1e6 / 0.5e12)  # half of 1 TFLOP/s, which counts a multiply-add twice


def test_bias_and_results_of_the_graph_stay_in_two_bytes() -> None:
    nodes = [
        node("Gemm", "x w b", "a"),
        node("Reshape", "a n", "y"),
        node("MatMul", "a w", "c"),
        node("Relu", "c", "z"),
    ]
    weights = {"w": (64, 64), "b": (64,), "n": (1,)}
    shapes = {"a": (64, 64), "c": (64, 64)}
    graph = graph_from_model(model(nodes, {"x": (64, 64)}, {"y": (4096,), "z": (64, 64)}, weights, shapes))
    first = costs_of_graph(graph, DEVICE, "int8")[0]
    assert first.weight_bytes == 64 * 64 + 2 * 64
    assert first.activation_bytes == 2 * (2 * 64 * 64)


def test_in_int8_weights_and_what_only_int8_reads_take_one_byte() -> None:
    first, second = costs_of_graph(two_products(), DEVICE, "int8")
    assert (first.precision, second.precision) == ("int8", "int8")
    assert first.weight_bytes == 1024 * 1024
    assert first.activation_bytes == (2 + 1) * 4096 * 1024  # the input comes in two bytes, the result goes out in one
    assert second.activation_bytes == (1 + 2) * 4096 * 1024


def test_a_residual_stays_in_two_bytes() -> None:
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a w", "b"), node("Add", "b a", "y")]
    shapes = dict.fromkeys(("a", "b"), (64, 64))
    graph = graph_from_model(model(nodes, {"x": (64, 64)}, {"y": (64, 64)}, {"w": (64, 64)}, shapes))
    second = costs_of_graph(graph, DEVICE, "int8")[1]
    assert second.activation_bytes == (2 + 2) * 64 * 64


def test_int8_is_for_products_with_weights_of_many_channels() -> None:
    x = (1, 32, 8, 8)
    nodes = [
        node("Conv", "x w3", "few"),
        node("Conv", "few w32", "in"),
        node("Conv", "in w", "many"),
        node("MatMul", "many in", "scores"),
    ]
    weights = {"w3": (3, 32, 1, 1), "w32": (32, 3, 1, 1), "w": (32, 32, 1, 1)}
    shapes = {"few": (1, 3, 8, 8), "in": x, "many": x}
    graph = graph_from_model(model(nodes, {"x": x}, {"scores": x}, weights, shapes))
    assert [graph.nodes[i].outputs[0] for i in sorted(int8_nodes(graph))] == ["many"]


def test_a_graph_with_dequantization_says_itself_what_is_int8() -> None:
    def quantized(name: str) -> list[object]:
        return [
            node("QuantizeLinear", f"{name} s z", f"{name}_q"),
            node("DequantizeLinear", f"{name}_q s z", f"{name}_d"),
        ]

    nodes = [
        *quantized("x"),
        node("DequantizeLinear", "w_q s z", "w_d"),
        node("Transpose", "w_d", "w_t"),
        node("MatMul", "x_d w_t", "a"),
        node("MatMul", "a v", "y"),
    ]
    shapes = dict.fromkeys(("x_d", "w_d", "w_t", "a"), (64, 64))
    made = model(nodes, {"x": (64, 64)}, {"y": (64, 64)}, {"v": (64, 64), "s": ()}, shapes)
    for name, dims in (("w_q", [64, 64]), ("z", [])):
        made.graph.initializer.append(TensorProto(name=name, data_type=TensorProto.INT8, dims=dims))
    made.graph.value_info.append(helper.make_tensor_value_info("x_q", TensorProto.INT8, [64, 64]))
    graph = graph_from_model(made)
    assert [graph.nodes[i].outputs[0] for i in int8_nodes(graph)] == ["a"]
    first, second = costs_of_graph(graph, DEVICE, "int8")
    assert (first.precision, first.weight_bytes) == ("int8", 64 * 64)
    assert (second.precision, second.weight_bytes) == ("fp16", 2 * 64 * 64)


@pytest.fixture(scope="module")
def graphs(small_bundle: Path) -> dict[str, Graph]:
    return {stage: graph_of_stage(Bundle(small_bundle), stage) for stage in STAGES}


def seconds(costs: tuple[Cost, ...]) -> tuple[float, float]:
    return sum(c.floor_s for c in costs), sum(c.predicted_s for c in costs)


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda d: d.name)
def test_fewer_bits_are_never_slower(graphs: dict[str, Graph], device: Device) -> None:
    for graph in graphs.values():
        times = [seconds(costs_of_graph(graph, device, p)) for p in PRECISIONS]
        for slow, fast in pairwise(times):
            assert fast[0] <= slow[0] and fast[1] <= slow[1]


@pytest.mark.parametrize("rate", ["fp32_tops", "fp16_tops", "int8_tops", "bandwidth_gb_s"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_faster_device_is_never_slower(graphs: dict[str, Graph], precision: str, rate: str) -> None:
    slow = DEVICES["orin-nx-16gb"]
    fast = replace(slow, **{rate: 2 * getattr(slow, rate)})
    for graph in graphs.values():
        before, after = costs_of_graph(graph, slow, precision), costs_of_graph(graph, fast, precision)
        assert all(
            a.floor_s <= b.floor_s and a.predicted_s <= b.predicted_s for a, b in zip(after, before, strict=True)
        )


def test_devices_of_a_family_are_in_order(graphs: dict[str, Graph]) -> None:
    order = ("orin-nx-16gb", "orin-nano-super", "orin-agx-32gb", "orin-agx-64gb", "rtx-4090", "h100-sxm")
    for graph, precision in product(graphs.values(), ("fp16", "int8")):
        times = [seconds(costs_of_graph(graph, DEVICES[name], precision))[1] for name in order]
        assert times == sorted(times, reverse=True)


def test_no_prediction_is_below_its_floor(graphs: dict[str, Graph]) -> None:
    for graph, device, precision in product(graphs.values(), DEVICES.values(), PRECISIONS):
        assert all(c.predicted_s >= c.floor_s for c in costs_of_graph(graph, device, precision))


def test_every_share_of_a_peak_is_a_share_with_a_source() -> None:
    for efficiency in (*EFFICIENCIES.values(), BANDWIDTH):
        assert 0 < efficiency.share < 1 and efficiency.source
    for device in DEVICES.values():
        assert device.fp32_tops < device.fp16_tops < device.int8_tops and device.source


def test_parts_and_layers_add_up(small_bundle: Path) -> None:
    prediction = predict_bundle(Bundle(small_bundle), DEVICES["orin-agx-64gb"])
    stages, parts = prediction.stages(), prediction.parts()
    for stage in STAGES:
        assert sum(s.operations for (name, _), s in parts.items() if name == stage) == stages[stage].operations
    assert stages["total"].predicted_ms == pytest.approx(stages["perceive"].predicted_ms + stages["act"].predicted_ms)
    assert sum(s.predicted_ms for _, s in prediction.layers()) == pytest.approx(stages["total"].predicted_ms)
    assert {part for stage, part in parts if stage == "perceive"} == {"VAE encoder", "UNet", "Video Former"}


def test_another_precision_is_refused(small_bundle: Path) -> None:
    with pytest.raises(BadInputError, match="fp64"):
        predict_bundle(Bundle(small_bundle), DEVICE, "fp64")


def test_the_command_prints_predictions_as_such(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(small_bundle), "--roofline", "orin-agx-64gb", "--precision", "int8", "--top", "3"]) == 0
    printed = capsys.readouterr().out
    tables = [block.splitlines()[0] for block in printed.split("\n\n")]
    assert all("predicted, not measured" in heading for heading in tables[:3])
    assert "exported in fp32" in printed and "58.7 of 85 TOP/s" in printed and "204.8 GB/s" in printed


def test_the_command_answers_in_json(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(small_bundle), "--roofline", "orin-nx-16gb", "--top", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["predicted"] is True and said["measured"] is False
    assert set(said["stages"]) == {*STAGES, "total"} and len(said["layers"]) == 2
    assert said["stages"]["total"]["predicted_ms"] >= said["stages"]["total"]["floor_ms"] > 0
    assert said["device"]["name"] == "orin-nx-16gb" and said["not_counted"] == {}
    assert all(a["source"] for a in said["assumptions"])


def test_the_weights_are_not_needed(bundle_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for weights in bundle_copy.glob("onnx/*.data"):
        weights.unlink()
    assert main(["profile", str(bundle_copy), "--roofline", "rtx-4090"]) == 0
    assert "predicted, not measured" in capsys.readouterr().out


def test_a_file_that_is_not_a_graph_is_refused(bundle_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = b"\xff" * 100
    (bundle_copy / "onnx" / "act.onnx").write_bytes(content)
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"]["onnx/act.onnx"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    assert main(["profile", str(bundle_copy), "--roofline", "rtx-4090"]) == 2
    assert "not readable as ONNX" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--roofline", "orin-of-the-future"], "orin-agx-64gb"),
        (["--precision", "fp16"], "--roofline"),
        (["--roofline", "orin-nx-16gb", "--compare", "torch"], "--compare"),
        (["--roofline", "orin-nx-16gb", "--top", "-1"], "--top"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    small_bundle: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert main(["profile", str(small_bundle), *words]) == 2
    assert named in capsys.readouterr().err
