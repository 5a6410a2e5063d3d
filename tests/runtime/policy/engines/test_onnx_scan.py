"""External data of ONNX graphs: file names in a hostile graph are found wherever they hide, and nothing is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BundleError
from vpp_edge.runtime.policy.engines.onnx_scan import ExternalData, check_external_data, external_data

onnx = pytest.importorskip("onnx")


def tensor(location: str, key: str = "location") -> onnx.TensorProto:
    made = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    made.data_location = onnx.TensorProto.EXTERNAL
    made.external_data.add(key=key, value=location)
    made.external_data.add(key="offset", value="0")
    return made


def attribute(**fields: object) -> onnx.AttributeProto:
    return onnx.AttributeProto(name="a", **fields)


def graph_with(**fields: object) -> onnx.GraphProto:
    return onnx.GraphProto(name="g", **fields)


def node_with(made: onnx.AttributeProto) -> onnx.NodeProto:
    return onnx.NodeProto(op_type="Constant", attribute=[made])


def in_graph(graph: onnx.GraphProto) -> onnx.ModelProto:
    return onnx.ModelProto(ir_version=10, graph=graph)


def in_attribute(made: onnx.AttributeProto) -> onnx.ModelProto:
    return in_graph(graph_with(node=[node_with(made)]))


# Every place of onnx.proto where a tensor can be.
PLACES: dict[str, Callable[[onnx.TensorProto], onnx.ModelProto]] = {
    "initializer": lambda t: in_graph(graph_with(initializer=[t])),
    "sparse initializer values": lambda t: in_graph(graph_with(sparse_initializer=[onnx.SparseTensorProto(values=t)])),
    "sparse initializer indices": lambda t: in_graph(
        graph_with(sparse_initializer=[onnx.SparseTensorProto(indices=t)])
    ),
    "attribute": lambda t: in_attribute(attribute(t=t)),
    "attribute list": lambda t: in_attribute(attribute(tensors=[tensor("act.onnx.data"), t])),
    "sparse attribute": lambda t: in_attribute(attribute(sparse_tensor=onnx.SparseTensorProto(values=t))),
    "sparse attribute list": lambda t: in_attribute(attribute(sparse_tensors=[onnx.SparseTensorProto(values=t)])),
    "subgraph": lambda t: in_attribute(attribute(g=graph_with(initializer=[t]))),
    "subgraph list": lambda t: in_attribute(attribute(graphs=[graph_with(initializer=[t])])),
    "function": lambda t: onnx.ModelProto(functions=[onnx.FunctionProto(name="f", node=[node_with(attribute(t=t))])]),
    "function default": lambda t: onnx.ModelProto(
        functions=[onnx.FunctionProto(name="f", attribute_proto=[attribute(t=t)])]
    ),
    "training": lambda t: onnx.ModelProto(
        training_info=[onnx.TrainingInfoProto(algorithm=graph_with(initializer=[t]))]
    ),
    "training start": lambda t: onnx.ModelProto(
        training_info=[onnx.TrainingInfoProto(initialization=graph_with(initializer=[t]))]
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["../../secret", "/etc/passwd", "", "./act.onnx.data", "*/_ORT_MEM_ADDR_/*"])
def test_foreign_data_is_rejected_wherever_it_hides(place: str, location: str) -> None:
    model = PLACES[place](tensor(location)).SerializeToString()
    with pytest.raises(BundleError, match=r"^onnx/act\.onnx: refers to weights in '") as error:
        check_external_data("onnx/act.onnx", model, {"act.onnx.data"})
    assert repr(location) in str(error.value)


@pytest.mark.parametrize("place", PLACES)
def test_the_stage_s_own_weights_are_for_initializers_only(place: str) -> None:
    """Only these are passed to an engine as verified bytes; it would look up others in the working directory."""
    model = PLACES[place](tensor("act.onnx.data")).SerializeToString()
    if place == "initializer":
        check_external_data("onnx/act.onnx", model, {"act.onnx.data"})
    else:
        with pytest.raises(
            BundleError, match=r"only its initializers may refer to a file, and only to act\.onnx\.data"
        ):
            check_external_data("onnx/act.onnx", model, {"act.onnx.data"})
    with pytest.raises(BundleError, match="but may not refer to files"):
        check_external_data("onnx/act.onnx", model, set())


@given(depth=st.integers(1, 400), location=st.text(max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_name_at_any_depth_is_found(depth: int, location: str) -> None:
    graph = field(5, tensor(location).SerializeToString())
    assert external_data("g", field(7, graph)) == ExternalData({location}, set())
    for _ in range(depth):  # graph > node > attribute > graph, by hand: protobuf itself stops at depth 100
        graph = field(1, field(5, field(6, graph)))
    assert external_data("g", field(7, graph)) == ExternalData(set(), {location})


def test_a_repeated_location_counts_twice() -> None:
    entry = field(1, b"location") + field(2, b"act.onnx.data") + field(2, b"/etc/shadow")
    model = field(7, field(5, field(13, entry)))
    assert external_data("g", model).weights == {"act.onnx.data", "/etc/shadow"}
    renamed = field(1, b"offset") + field(2, b"/etc/shadow") + field(1, b"location")
    assert external_data("g", field(7, field(5, field(13, renamed)))).weights == {"/etc/shadow"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"\x3a\x05abc", "ends beyond its message"),
        (b"\x3a", "out of bounds|out of range"),
        (b"\x3b\x3c", "wire type 3"),
        (b"\x02\x00", "field number 0"),
        (b"\xba\x80\x80\x80\x10\x00", "field number"),  # field 7 for a parser that keeps 32 bits
        (b"\x08" + b"\xff" * 11, "more than 10 bytes"),
        (b"\x39abc", "ends beyond its message"),
    ],
)
def test_malformed_protobuf_is_rejected(model: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=f"not a well-formed ONNX model .*({reason})"):
        external_data("onnx/act.onnx", model)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_garbage_is_rejected_or_harmless(model: bytes) -> None:
    with contextlib.suppress(BundleError):
        external_data("g", model)


@given(cut=st.integers(1, 10**6))
@settings(max_examples=50, deadline=None)
def test_truncation_hides_no_location(cut: int) -> None:
    """A truncated model is rejected, or parses and names no more files than before."""
    model = PLACES["subgraph"](tensor("/etc/passwd")).SerializeToString()
    with contextlib.suppress(BundleError):
        assert external_data("g", model[: cut % len(model)]).elsewhere <= {"/etc/passwd"}


def test_an_exported_bundle_names_its_own_weights_only(small_bundle: Path) -> None:
    for stage in Bundle(small_bundle).manifest.stages.values():
        found = external_data(stage.graph, (small_bundle / stage.graph).read_bytes())
        assert found == ExternalData({f"{stage.name}.onnx.data"}, set())


def test_the_engine_never_sees_a_foreign_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    from vpp_edge.runtime.policy.engines.onnxruntime import open_session

    def opened(*_: object, **__: object) -> None:
        pytest.fail("ONNX Runtime was given the graph")

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    stage = StageRecord(
        name="act", graph="onnx/act.onnx", weights="onnx/act.onnx.data", precision="fp32", inputs=(), outputs=()
    )
    for model in (PLACES["initializer"](tensor("../../secret")).SerializeToString(), b"\x3a\x05abc"):
        with pytest.raises(BundleError, match=r"onnx/act\.onnx"):
            open_session(stage, model, {"act.onnx.data": b""}, EngineOptions())


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
