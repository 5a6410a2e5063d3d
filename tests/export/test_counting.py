"""Work of single nodes against counts by hand, and of the small bundle's act stage against a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import model, node
from small_policy import SMALL

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.export.counting import graph_from_model, graph_of_stage


def count(op: str, inputs: dict[str, tuple[int, ...]], output: tuple[int, ...], **attributes: Any) -> int:
    names = " ".join(inputs)
    made = model([node(op, names, "y", **attributes)], inputs, {"y": output})
    return graph_from_model(made).matrix_operations()


def test_a_product_counts_two_operations_per_multiply_accumulate() -> None:
    assert count("MatMul", {"a": (5, 7), "b": (7, 3)}, (5, 3)) == 2 * 5 * 7 * 3
    assert count("MatMul", {"a": (4, 1, 5, 7), "b": (6, 7, 3)}, (4, 6, 5, 3)) == 2 * 24 * 5 * 7 * 3
    assert count("Gemm", {"a": (7, 5), "b": (3, 7)}, (5, 3), transA=1, transB=1) == 2 * 5 * 7 * 3
    assert count("Einsum", {"a": (2, 5, 7), "b": (2, 3, 7)}, (2, 5, 3), equation="bid,bjd->bij") == 2 * 2 * 5 * 3 * 7


def test_a_convolution_counts_the_channels_of_its_group() -> None:
    x, y = (2, 6, 17, 13), (2, 8, 17, 13)
    assert count("Conv", {"x": x, "w": (8, 6, 3, 3)}, y, pads=[1] * 4) == 2 * (2 * 8 * 17 * 13) * (6 * 9)
    assert count("Conv", {"x": x, "w": (8, 3, 3, 3)}, y, pads=[1] * 4, group=2) == 2 * (2 * 8 * 17 * 13) * (3 * 9)
    assert count("Conv", {"x": (1, 4, 16, 5, 5), "w": (4, 4, 3, 1, 1)}, (1, 4, 16, 5, 5)) == 2 * (4 * 16 * 25) * (4 * 3)
    assert count("ConvTranspose", {"x": (1, 4, 5, 5), "w": (4, 6, 2, 2)}, (1, 6, 10, 10)) == 2 * (4 * 25) * (6 * 4)


def test_attention_counts_scores_and_values() -> None:
    four = {"q": (2, 8, 5, 16), "k": (2, 8, 9, 16), "v": (2, 8, 9, 24)}
    assert count("Attention", four, (2, 8, 5, 24)) == 2 * (2 * 8 * 5 * 9) * (16 + 24)
    three = {"q": (2, 5, 128), "k": (2, 9, 128), "v": (2, 9, 192)}
    assert count("Attention", three, (2, 5, 192), q_num_heads=8, kv_num_heads=8) == 2 * (2 * 8 * 5 * 9) * (16 + 24)


def test_elementwise_work_is_counted_apart() -> None:
    graph = graph_from_model(
        model(
            [node("Add", "x b", "s"), node("Softmax", "s", "p"), node("Reshape", "p n", "y")],
            {"x": (3, 7)},
            {"y": (21,)},
            {"b": (7,), "n": (1,)},
            {"s": (3, 7), "p": (3, 7)},
        )
    )
    assert [n.vector_operations for n in graph.nodes] == [21, 5 * 21, 0]
    assert graph.matrix_operations() == 0


def test_what_no_input_reaches_is_folded_by_an_engine() -> None:
    nodes = [node("Transpose", "w", "t"), node("MatMul", "t t", "u"), node("MatMul", "x u", "y")]
    graph = graph_from_model(model(nodes, {"x": (3, 7)}, {"y": (3, 7)}, {"w": (7, 7)}, {"t": (7, 7), "u": (7, 7)}))
    assert graph.matrix_operations() == 2 * 3 * 7 * 7
    assert {"w", "t", "u"} <= graph.constants


def test_shapes_that_are_not_stated_are_inferred() -> None:
    nodes = [node("MatMul", "x w", "t"), node("Relu", "t", "y")]
    assert graph_from_model(model(nodes, {"x": (3, 7)}, {"y": (3, 5)}, {"w": (7, 5)})).matrix_operations() == 210


def test_an_unknown_operator_is_listed() -> None:
    strange = helper.make_node("Warp", ["x"], ["y"], domain="com.example")
    graph = graph_from_model(model([strange], {"x": (3,)}, {"y": (3,)}))
    assert graph.unknown == {"com.example.Warp": 1}


def test_a_shape_that_is_not_static_is_refused() -> None:
    made = model([node("Relu", "x", "y")], {"x": (3,)}, {"y": (3,)})
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"]))
    with pytest.raises(BadInputError, match=r"shape of 'x' is not static"):
        graph_from_model(made)


def test_a_node_before_its_input_is_refused() -> None:
    nodes = [node("Relu", "t", "y"), node("Relu", "x", "t")]
    with pytest.raises(BadInputError, match="before it is computed"):
        graph_from_model(model(nodes, {"x": (3,)}, {"y": (3,)}, inner={"t": (3,)}))


def test_shapes_that_do_not_fit_their_operator_are_refused() -> None:
    with pytest.raises(BadInputError, match="unexpected shapes"):
        count("Gemm", {"a": (), "b": (3,)}, (3,))


def test_every_operator_of_a_bundle_is_counted(small_bundle: Path) -> None:
    for stage in ("text", "perceive", "act"):
        assert not graph_of_stage(Bundle(small_bundle), stage).unknown


def test_operations_of_the_act_stage_are_those_of_its_formula(small_bundle: Path) -> None:
    """Encoder once, keys and values of the context once and only for T tokens, each step the decoder."""
    s, d = SMALL, SMALL.width
    tokens, hidden = 16 * s.queries, 4 * d
    assert s.proprio is not None
    context = 1 + tokens + 1
    embeddings = (s.text_width * 2 * d + 2 * d * d) + tokens * d * d + (s.proprio * 2 * d + 2 * d * d)
    encoder = s.depth * (4 * context * d * d + 2 * context * context * d + 2 * context * d * hidden)
    cached = s.depth * 2 * s.horizon * d * d
    block = 6 * s.horizon * d * d + 2 * 2 * s.horizon**2 * d + 2 * s.horizon * d * hidden
    step = 2 * s.horizon * s.actions * d + s.depth * block
    graph = graph_of_stage(Bundle(small_bundle), "act")
    assert graph.matrix_operations() == 2 * (embeddings + encoder + cached + s.steps * step)


def test_a_graph_is_counted_without_its_weights(small_bundle: Path, tmp_path: Path) -> None:
    alone = tmp_path / "act.onnx"
    alone.write_bytes((small_bundle / "onnx" / "act.onnx").read_bytes())
    graph = graph_from_model(onnx.load(alone, load_external_data=False))
    assert graph == graph_of_stage(Bundle(small_bundle), "act")
