"""Measurements of a graph in ONNX Runtime against numpy: magnitudes, histograms, ranges, switched runs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import TensorProto, helper, numpy_helper

from vpp_edge.bundle.quantization import SWITCH, Product
from vpp_edge.calibration import ranges as ranges_module
from vpp_edge.calibration.measure import magnitudes, nodes_by_layer, ranges, switched_run
from vpp_edge.calibration.probe import PREFIX, largest_magnitudes, probed_graph
from vpp_edge.calibration.ranges import BINS, SMALLEST, histograms
from vpp_edge.cpu_session import cpu_session
from vpp_edge.errors import BadInputError

TENSORS = ("x", "bias", "hidden", "summed", "total", "y")
SIZES = {"x": 2 * 3 * 4 * 4, "bias": 4 * 4, "hidden": 96, "summed": 96, "total": 4, "y": 96}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """y = relu(x * 3) + bias, with `total`, the sum of it, of no dimension."""
    shape = (2, 3, 4)
    nodes = [
        onnx_graphs.node("Add", "x x", "twice"),
        onnx_graphs.node("Add", "twice x", "thrice"),
        onnx_graphs.node("Relu", "thrice", "hidden"),
        onnx_graphs.node("Add", "hidden bias", "summed"),
        onnx_graphs.node("ReduceSum", "summed", "total", keepdims=0),
        onnx_graphs.node("Sub", "summed total", "y"),
    ]
    inner = dict.fromkeys(("twice", "thrice", "hidden", "summed"), shape) | {"total": ()}
    model = onnx_graphs.model(nodes, {"x": shape, "bias": (4,)}, {"y": shape}, inner=inner)
    onnx.checker.check_model(model)
    path = tmp_path_factory.mktemp("graph") / "stage.onnx"
    onnx.save(model, path)
    return path


def feed(seed, scale=1.0):
    random = np.random.default_rng(seed)
    return {
        "x": (scale * random.standard_normal((2, 3, 4))).astype(np.float32),
        "bias": random.standard_normal(4).astype(np.float32),
    }


def by_numpy(one):
    hidden = np.maximum(one["x"] + one["x"] + one["x"], 0)
    summed = hidden + one["bias"]
    total = summed.sum()
    return {"x": one["x"], "bias": one["bias"], "hidden": hidden, "summed": summed, "total": total, "y": summed - total}


FEEDS = [feed(0), feed(1, 5.0), feed(2)]
EXPECTED = [by_numpy(one) for one in FEEDS]


def largest_of(name):
    return max(float(np.abs(e[name]).max()) for e in EXPECTED)


def channels_of(array, axis):
    """(C,) largest magnitude for every entry of an axis."""
    return np.abs(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)).max(axis=1)


def test_magnitudes_of_tensors_are_those_of_numpy(graph, tmp_path):
    found = magnitudes(graph, dict.fromkeys(TENSORS), FEEDS, tmp_path)
    assert set(found) == set(TENSORS)
    for name in TENSORS:
        assert found[name].shape == ()
        np.testing.assert_allclose(found[name], largest_of(name), rtol=1e-5)
    assert not list(tmp_path.iterdir())  # the graph it made is gone


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
def test_magnitudes_of_channels_are_those_of_numpy(graph, tmp_path, axis):
    axes = {"x": axis, "hidden": axis, "y": axis, "bias": max(min(axis, 0), -1), "summed": None, "total": None}
    found = magnitudes(graph, axes, FEEDS, tmp_path)
    for name, one in axes.items():
        expected = largest_of(name) if one is None else np.max([channels_of(e[name], one) for e in EXPECTED], axis=0)
        assert found[name].shape == np.shape(expected), name
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


@pytest.mark.parametrize("axis", [None, -1, 1])
def test_a_probed_graph_is_valid_and_computes_the_same(graph, tmp_path, axis):
    target = tmp_path / "probed.onnx"
    axes = {name: axis for name in TENSORS if name not in ("bias", "total")} | {"bias": axis and -1, "total": None}
    probed_graph(graph, target, axes)
    onnx.checker.check_model(onnx.load(target), full_check=True)
    session = cpu_session(target)
    names = [o.name for o in session.get_outputs()]
    assert names[0] == "y" and sorted(names[1:]) == sorted(PREFIX + name for name in TENSORS)
    values = dict(zip(names, session.run(None, FEEDS[0]), strict=True))
    np.testing.assert_array_equal(values["y"], cpu_session(graph).run(["y"], FEEDS[0])[0])
    for output in session.get_outputs():
        assert list(values[output.name].shape) == output.shape


def test_the_largest_of_all_feeds_is_kept(graph, tmp_path):
    target = tmp_path / "probed.onnx"
    probed_graph(graph, target, {"x": None})
    session = cpu_session(target)
    assert largest_magnitudes(session, FEEDS)["x"] == largest_magnitudes(session, FEEDS[::-1])["x"] == largest_of("x")
    assert largest_magnitudes(session, []) == {}


def all_outputs(graph, folder):
    """The graph with every tensor among its outputs."""
    model = onnx.load(graph)
    model.graph.output.extend(v for v in model.graph.value_info if v.name in TENSORS)
    onnx.save(model, folder / "all.onnx")
    return cpu_session(folder / "all.onnx")


@pytest.mark.parametrize("limit", [None, 200, 1])
def test_histograms_are_those_of_numpy_however_they_are_fetched(graph, tmp_path, monkeypatch, limit):
    session = all_outputs(graph, tmp_path)
    runs = []

    class Counted:
        def run(self, names, one):
            runs.append(list(names))
            return session.run(names, one)

    if limit is not None:
        monkeypatch.setattr(ranges_module, "_TENSOR_BYTES", limit)
    largest = {name: largest_of(name) for name in TENSORS}
    found = histograms(Counted(), SIZES, largest, FEEDS)
    for name in TENSORS:
        counts = sum(np.histogram(np.abs(e[name]), BINS, (0, largest[name]))[0] for e in EXPECTED)
        assert found[name].shape == (BINS,) and found[name].sum() == 3 * SIZES[name] // 4
        assert np.abs(np.cumsum(found[name] - counts)).max() <= 1  # a value on an edge may fall to either side
    assert not any({"x", "bias"} & set(names) for names in runs)  # the feed has the inputs
    if limit is not None:
        assert all(len(names) == 1 or sum(SIZES[n] for n in names) <= limit for names in runs)
    assert len(runs) == {None: 1, 200: 2, 1: 4}[limit] * len(FEEDS)


def test_a_histogram_of_zeros_is_counted(graph, tmp_path):
    zero = {"x": np.zeros((2, 3, 4), np.float32), "bias": np.zeros(4, np.float32)}
    found = histograms(all_outputs(graph, tmp_path), SIZES, dict.fromkeys(TENSORS, 0.0), [zero])
    assert all(counts[0] == counts.sum() == SIZES[name] // 4 for name, counts in found.items())


def product(node, layer, *activations):
    return Product(node=node, layer=layer, macs=10, activations=activations, weight=None, channels=-1)


PRODUCTS = [product("a", "one", "x", "hidden"), product("b", "one", "hidden"), product("c", "two", "total", "y")]


def test_ranges_are_measured_for_every_activation(graph, tmp_path):
    found = ranges(graph, products=PRODUCTS, feeds=FEEDS, work=tmp_path, method="max", percentile=99.99)
    assert found == {name: pytest.approx(largest_of(name), rel=1e-5) for name in ("x", "hidden", "total", "y")}
    assert ranges(
        graph, products=PRODUCTS, feeds=FEEDS, work=tmp_path, method="percentile", percentile=100
    ) == pytest.approx(found)
    cut = ranges(graph, products=PRODUCTS, feeds=FEEDS, work=tmp_path, method="percentile", percentile=50)
    values = np.concatenate([np.abs(e["x"]).ravel() for e in EXPECTED])
    assert cut["x"] == pytest.approx(np.sort(values)[len(values) // 2 - 1], abs=2 * largest_of("x") / BINS)
    entropy = ranges(graph, products=PRODUCTS, feeds=FEEDS, work=tmp_path, method="entropy", percentile=99.99)
    assert all(0 < entropy[name] <= found[name] * (1 + 1e-6) for name in found)


def test_ranges_of_a_graph_that_is_always_zero_can_be_divided_by(graph, tmp_path):
    zero = {"x": np.zeros((2, 3, 4), np.float32), "bias": np.zeros(4, np.float32)}
    for method in ("max", "percentile", "entropy"):
        found = ranges(graph, products=PRODUCTS, feeds=[zero], work=tmp_path, method=method, percentile=99.99)
        assert all(0 < value <= SMALLEST for value in found.values())


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("method", ["max", "entropy"])
def test_ranges_need_finite_activations(graph, tmp_path, bad, method):
    broken = feed(0)
    broken["x"][0, 0, 0] = bad
    with pytest.raises(BadInputError, match=r"tensor \w+ becomes (inf|nan)"):
        ranges(graph, products=PRODUCTS, feeds=[FEEDS[0], broken], work=tmp_path, method=method, percentile=99.99)


@pytest.mark.parametrize(("method", "percentile"), [("mean", 99.0), ("percentile", 0.0)])
def test_an_unknown_method_is_refused(graph, tmp_path, method, percentile):
    with pytest.raises(BadInputError):
        ranges(graph, products=PRODUCTS, feeds=FEEDS, work=tmp_path, method=method, percentile=percentile)


@pytest.fixture(scope="module")
def switched(tmp_path_factory):
    """y = 1 or 0 for a, plus 2 or 0 for b, plus 4 or 0 for c: which switches are on."""
    nodes, inputs, weights = [], [], []
    for i, name in enumerate("abc"):
        inputs.append(helper.make_tensor_value_info(SWITCH + name, TensorProto.BOOL, []))
        nodes.append(helper.make_node("Cast", [SWITCH + name], [f"{name}_on"], to=TensorProto.FLOAT))
        weights.append(numpy_helper.from_array(np.array(2.0**i, np.float32), f"{name}_weight"))
        nodes.append(helper.make_node("Mul", [f"{name}_on", f"{name}_weight"], [f"{name}_part"]))
    nodes.append(helper.make_node("Sum", ["x", "a_part", "b_part", "c_part"], ["y"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph(nodes, "switched", [x, *inputs], [y], weights)
    path = tmp_path_factory.mktemp("switched") / "switched.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return cpu_session(path)


def test_a_switched_run_has_exactly_the_named_nodes_in_int8(switched):
    one = {"x": np.array([0.0], np.float32)}
    for low, expected in [(set(), 0), ({"a"}, 1), ({"b", "c"}, 6), ({"a", "b", "c"}, 7)]:
        assert switched_run(switched, PRODUCTS, low)(one)["y"] == [expected]


def test_the_products_of_a_layer_are_found_together():
    assert nodes_by_layer(PRODUCTS) == {"one": {"a", "b"}, "two": {"c"}}
