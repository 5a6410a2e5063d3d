"""The work that a bundle keeps of its stages: what onnx counts, read back without it, refused where it is garbled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edited import edit_json

from vpp_edge.bundle.manifest import Bundle, file_record
from vpp_edge.bundle.work import WORK_NAME, graph_from_json, work_of_bundle
from vpp_edge.cli.main import main
from vpp_edge.errors import BundleError
from vpp_edge.export.counting import graph_of_stage
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.profile.roofline.prediction import predict_bundle


@pytest.mark.parametrize("name", ["small_bundle", "fp16_bundle", "int8_bundle", "approximate_bundle"])
def test_it_is_what_onnx_counts(request: pytest.FixtureRequest, name: str) -> None:
    bundle = Bundle(request.getfixturevalue(name))
    kept = work_of_bundle(bundle)
    assert set(kept) == set(bundle.manifest.stages)
    for stage, graph in kept.items():
        assert graph == graph_of_stage(bundle, stage) and graph.nodes
        assert graph_from_json(json.loads(json.dumps(graph.to_json()))) == graph


def edited(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """The bundle with another `work.json`, and the manifest with it."""
    edit_json(bundle / WORK_NAME, edit)
    record = file_record(bundle / WORK_NAME)
    entry = {WORK_NAME: {"sha256": record.sha256, "bytes": record.size}}
    edit_json(bundle / "manifest.json", lambda data: data["files"].update(entry))
    return bundle


def without(bundle: Path) -> Path:
    """The bundle as an earlier version wrote it."""
    (bundle / WORK_NAME).unlink()
    edit_json(bundle / "manifest.json", lambda data: data["files"].pop(WORK_NAME))
    return bundle


def test_a_bundle_of_an_earlier_version_is_counted_now(small_bundle: Path, bundle_copy: Path) -> None:
    device = DEVICES["orin-agx-64gb"]
    kept = predict_bundle(Bundle(small_bundle), device)
    assert predict_bundle(Bundle(without(bundle_copy)), device).to_json(5) == kept.to_json(5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(schema_version=2),
        lambda data: data.pop("stages"),
        lambda data: data.update(stages=[]),
        lambda data: data["stages"].update(act=3),
        lambda data: data["stages"]["act"].update(nodes=[["too", "short"]]),
        lambda data: data["stages"]["act"]["nodes"][0].__setitem__(3, "magic"),
        lambda data: data["stages"]["act"].update(tensors={"x": None}),
        lambda data: data["stages"]["act"].pop("graph_sha256"),
    ],
)
def test_a_garbled_file_is_status_2(
    capsys: pytest.CaptureFixture[str], bundle_copy: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    bundle = edited(bundle_copy, spoil)
    assert main(["profile", str(bundle), "--roofline", "orin-agx-64gb"]) == 2
    err = capsys.readouterr().err
    assert WORK_NAME in err and "Export the bundle again" in err and "bug" not in err


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data["stages"].pop("act"),
        lambda data: data["stages"]["act"].update(graph_sha256="0" * 64, nodes=[]),
    ],
    ids=["no counts", "counts of another graph"],
)
def test_a_stage_whose_file_was_not_counted_is_counted_now(
    small_bundle: Path, bundle_copy: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    device = DEVICES["orin-agx-64gb"]
    changed = Bundle(edited(bundle_copy, edit))
    assert set(work_of_bundle(changed)) == {"text", "perceive"}
    assert predict_bundle(changed, device).to_json(5) == predict_bundle(Bundle(small_bundle), device).to_json(5)


def test_a_changed_file_is_refused(bundle_copy: Path) -> None:
    (bundle_copy / WORK_NAME).write_text("{}")
    with pytest.raises(BundleError, match=r"work\.json: 2 bytes, the manifest states"):
        work_of_bundle(Bundle(bundle_copy))
