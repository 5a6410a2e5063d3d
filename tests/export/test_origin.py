"""A stray ONNX file says which bundle, checkpoint and stage it is from; nothing in it varies between exports."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.checkpoint.choices import Choices
from vpp_edge.cli import main as cli
from vpp_edge.errors import BundleError
from vpp_edge.export.origin import bundle_id, write_origin
from vpp_edge.export.precision.lower import write_lowered
from vpp_edge.runtime.policy.engines.onnx_scan import metadata

CHECKPOINT = {"policy": {"policy.pt": "ab" * 32}, "video_model": {"unet.safetensors": "cd" * 32}}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """y = x @ w, as an exporter leaves it."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    weights = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, (4, 4), [0.5] * 16)
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (2, 4)) for name in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y], [weights]))
    path = tmp_path / "act.onnx"
    onnx.save(model, path)
    return path


def test_the_origin_is_written_once_and_read_without_onnx(graph: Path) -> None:
    provenance = {"id": "0123456789abcdef", "checkpoint_sha256": CHECKPOINT, "created": "today"}
    written = []
    for _ in range(2):
        write_origin(graph, "act", provenance)
        written.append(graph.read_bytes())
    assert written[0] == written[1]
    found = metadata("act.onnx", written[0])
    assert found.pop("vpp_edge.version")
    assert found == {
        "vpp_edge.bundle": "0123456789abcdef",
        "vpp_edge.policy_sha256": "ab" * 32,
        "vpp_edge.stage": "act",
        "vpp_edge.precision": "fp32",
    }
    onnx.checker.check_model(onnx.load(graph))


def test_a_lower_precision_keeps_the_origin_and_says_its_own(graph: Path, tmp_path: Path) -> None:
    write_origin(graph, "act", {"id": "0" * 16, "checkpoint_sha256": CHECKPOINT})
    write_lowered(graph, tmp_path / "fp16.onnx", ())
    found = metadata("fp16.onnx", (tmp_path / "fp16.onnx").read_bytes())
    assert found["vpp_edge.precision"] == "fp16" and found["vpp_edge.bundle"] == "0" * 16


def test_the_name_of_a_bundle_depends_on_checkpoint_and_choices_only() -> None:
    name = bundle_id(CHECKPOINT, Choices())
    assert name == bundle_id(dict(reversed(CHECKPOINT.items())), Choices()) and len(name) == 16
    assert name != bundle_id(CHECKPOINT, Choices(steps=4))
    assert name != bundle_id({**CHECKPOINT, "policy": {"policy.pt": "00" * 32}}, Choices())


def test_every_stage_of_a_bundle_names_it(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Bundle(small_bundle).manifest
    for name, stage in manifest.stages.items():
        assert cli.main(["inspect", str(small_bundle / stage.graph), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["stage"], found["precision"]) == (name, "fp32")
        assert found["bundle"] == manifest.provenance["id"]
        assert found["policy_sha256"] in manifest.provenance["checkpoint_sha256"]["policy"].values()
    assert cli.main(["inspect", str(small_bundle)]) == 0
    assert manifest.provenance["id"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "does not say that it comes from a bundle"), (b"{}\n", "not a well-formed"), (b"\x72\xff", "not a well")],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    path = tmp_path / "stray.onnx"
    path.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_metadata_that_is_damaged_is_an_error_of_ours() -> None:
    with pytest.raises(BundleError, match=r"x\.onnx: not a well-formed"):
        metadata("x.onnx", b"\x72\x05\x0a\x09abc")
