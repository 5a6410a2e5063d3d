"""Functions in graphs: calls are inlined and restored, and bodies compute what the modules do in every precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx_graphs import run
from torch import Tensor, nn

from vpp_edge.export.counting import graph_from_model
from vpp_edge.export.functions.calls import group_norm_silu, spatial_attention, temporal_attention, text_attention
from vpp_edge.export.functions.definitions import DOMAIN, NAMES
from vpp_edge.export.functions.graphs import define_functions, inline_calls, outline_calls
from vpp_edge.export.precision.half import half_graph

VIEWS, FRAMES, PIXELS, HEADS, WIDTH, WORDS = 2, 5, 3, 2, 4, 7
TOKENS, CHANNELS = VIEWS * FRAMES * PIXELS, HEADS * WIDTH
PACKED = (TOKENS, 3 * CHANNELS)


class Case(nn.Module):
    """One operation between two additions, so that its input and output are tensors inside the graph."""

    def __init__(self, operation: Callable[..., Tensor], norm: nn.GroupNorm | None = None) -> None:
        super().__init__()
        self.operation, self.norm = operation, norm

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        more = others if self.norm is None else (self.norm,)
        return self.operation(x + 0.5, *more) + 0.25


def norm_of(channels: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(2, channels, eps=1e-3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


CASES: dict[str, tuple[Callable[[], Case], tuple[tuple[int, ...], ...]]] = {
    "temporal_attention": (lambda: Case(lambda x: temporal_attention(x, (VIEWS, FRAMES, PIXELS), HEADS)), (PACKED,)),
    "spatial_attention": (lambda: Case(lambda x: spatial_attention(x, VIEWS * FRAMES, HEADS)), (PACKED,)),
    "text_attention": (
        lambda: Case(lambda x, keys: text_attention(x, keys, HEADS)),
        ((TOKENS, CHANNELS), (HEADS * WORDS, CHANNELS)),
    ),
    "group_norm_silu": (lambda: Case(group_norm_silu, norm_of(6)), ((2, 6, 5, 3),)),
}


@pytest.fixture(scope="module")
def exported() -> dict[str, tuple[Any, dict[str, np.ndarray], np.ndarray]]:
    """For each case: the graph, its inputs, and the outputs of the module."""
    graphs = {}
    for name, (case, shapes) in CASES.items():
        torch.manual_seed(0)
        module, inputs = case().eval(), tuple(torch.randn(shape) for shape in shapes)
        names = [f"x{i}" for i in range(len(inputs))]
        with torch.no_grad():
            program = torch.onnx.export(
                module, inputs, dynamo=True, opset_version=20, verbose=False, input_names=names, output_names=["y"]
            )
            define_functions(program.model)
            expected = module(*inputs).numpy()
        feeds = {n: x.numpy() for n, x in zip(names, inputs, strict=True)}
        graphs[name] = (ir.serde.serialize_model(program.model), feeds, expected)
    return graphs


def nodes_of(model: Any) -> list[tuple[str, str, list[str], list[str]]]:
    return [(n.op_type, n.name, list(n.input), list(n.output)) for n in model.graph.node]


def changed(source: Any, *changes: Callable[[Any], object]) -> Any:
    model = ir.serde.deserialize_model(source)
    for change in changes:
        change(model)
    result = ir.serde.serialize_model(model)
    onnx.checker.check_model(result, full_check=True)
    return result


def test_every_function_has_a_case() -> None:
    assert set(CASES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flat", [False, True])
def test_a_body_computes_the_same_as_the_module(exported: Any, name: str, flat: bool) -> None:
    source, feeds, expected = exported[name]
    assert [n.op_type for n in source.graph.node if n.domain == DOMAIN] == [name]
    assert [f.name for f in source.functions] == [name]
    model = changed(source, inline_calls) if flat else source
    assert flat == (not model.functions)
    np.testing.assert_allclose(run(model, feeds, optimized=False)["y"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_becomes_the_original_call_again(exported: Any, name: str) -> None:
    source, *_ = exported[name]
    again = changed(source, inline_calls, outline_calls)
    assert nodes_of(again) == nodes_of(source)
    assert [f.name for f in again.functions] == [name]
    call, other = (next(n for n in m.graph.node if n.domain == DOMAIN) for m in (source, again))
    assert list(call.attribute) == list(other.attribute)


@pytest.mark.parametrize("name", NAMES)
def test_a_flat_graph_has_all_shapes_and_types_and_unique_names(exported: Any, name: str) -> None:
    model = ir.serde.deserialize_model(exported[name][0])
    inline_calls(model)
    values = [v for node in model.graph for v in node.outputs]
    assert all(v.shape is not None and v.shape.is_static() and v.dtype is not None for v in values)
    for names in ([v.name for v in values], [n.name for n in model.graph]):
        assert len(set(names)) == len(names) and all(names)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_in_half_precision_is_a_call_in_half_precision(exported: Any, name: str) -> None:
    source, feeds, expected = exported[name]
    half = changed(source, inline_calls, lambda m: half_graph(m, ()), outline_calls)
    call = next(n for n in half.graph.node if n.domain == DOMAIN)
    kinds = {v.name: v.type.tensor_type.elem_type for v in half.graph.value_info}
    assert kinds[call.output[0]] == onnx.TensorProto.FLOAT16
    found = run(half, feeds, optimized=False)["y"]
    assert float(np.abs(found - expected).max()) < 4e-3 * float(np.abs(expected).max())


def test_a_body_with_a_float32_node_stays_flat(exported: Any) -> None:
    source, feeds, expected = exported["text_attention"]
    wide = {"text_attention_0/scores"}
    half = changed(source, inline_calls, lambda m: half_graph(m, wide), outline_calls)
    assert not half.functions and "MatMul" in [n.op_type for n in half.graph.node]
    np.testing.assert_allclose(run(half, feeds)["y"], expected, atol=4e-3)


def test_a_body_whose_inner_values_are_read_stays_flat(exported: Any) -> None:
    def read_scores(model: Any) -> None:
        scores = next(v for n in model.graph for v in n.outputs if v.name == "text_attention_0/scores")
        model.graph.outputs.append(scores)

    again = changed(exported["text_attention"][0], inline_calls, read_scores, outline_calls)
    assert not again.functions


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_model_counts_the_bodies(exported: Any, name: str) -> None:
    source, *_ = exported[name]
    counted, flat = graph_from_model(source), graph_from_model(changed(source, inline_calls))
    assert not counted.unknown
    assert counted.matrix_operations() == flat.matrix_operations()
    assert (counted.matrix_operations() > 0) == name.endswith("attention")
    assert sum(n.vector_operations for n in counted.nodes) == sum(n.vector_operations for n in flat.nodes)


@pytest.mark.parametrize("stage", ["text", "perceive", "act"])
def test_a_stage_survives_a_round_trip(small_bundle: Path, stage: str) -> None:
    model = ir.load(small_bundle / "onnx" / f"{stage}.onnx")
    before = nodes_of(ir.serde.serialize_model(model))
    called = {n.op_type for n in model.graph if n.domain == DOMAIN}
    assert called == (set(NAMES) if stage == "perceive" else set())
    inline_calls(model)
    assert not any(n.domain for n in model.graph)
    outline_calls(model)
    assert nodes_of(ir.serde.serialize_model(model)) == before


@pytest.mark.parametrize("precision", ["fp16", pytest.param("int8", marks=pytest.mark.slow)])
def test_lower_precision_keeps_the_functions(precision: str, request: pytest.FixtureRequest) -> None:
    bundle: Path = request.getfixturevalue(f"{precision}_bundle")
    model = onnx.load(bundle / "onnx" / "perceive.onnx", load_external_data=False)
    called = {n.op_type for n in model.graph.node if n.domain == DOMAIN}
    assert called == {f.name for f in model.functions}
    # INT8 quantizes the products of attention, which breaks up its bodies.
    assert called == (set(NAMES) if precision == "fp16" else {"group_norm_silu"})
