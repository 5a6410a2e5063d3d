"""`vpp-edge verify A B` of two bundles: what is measured, the limits, and what makes two bundles incomparable."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edited import edit_json
from onnx import numpy_helper

from vpp_edge.bundle.manifest import file_record
from vpp_edge.cli.main import main

pytestmark = pytest.mark.live


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_fp16_against_float32(capsys: pytest.CaptureFixture[str], fp16_bundle: Path, small_bundle: Path) -> None:
    status, out, _ = run(capsys, "verify", fp16_bundle, small_bundle, "--json")
    answer = json.loads(out)
    assert (status, answer["passed"], answer["notes"]) == (0, True, [])
    found = [(c["case"], c["tensor"]) for c in answer["checks"]]
    assert found[:6] == [
        ("0 alone", "text_hidden"),
        ("0 alone", "goal"),
        ("0 alone", "tokens"),
        ("0 alone", "actions"),
        ("0 end to end", "tokens"),
        ("0 end to end", "actions"),
    ]
    assert {case for case, _ in found} == {"0 alone", "0 end to end", "1 alone", "1 end to end"}
    assert all(0 < c["max_relative"] <= 5e-3 == c["limit"]["value"] for c in answer["checks"])
    assert {s["name"]: s["unit"] for s in answer["physical"]} == {
        "delta_position": "mm",
        "relative_rotation": "deg",
        "joint_position": "rad",
    }
    assert all(max(s["largest"]) > 0 for s in answer["physical"])


def test_as_text(capsys: pytest.CaptureFixture[str], fp16_bundle: Path, small_bundle: Path) -> None:
    status, out, _ = run(capsys, "verify", fp16_bundle, small_bundle)
    assert (status, out.count(" ok\n")) == (0, 12)
    assert re.search(r"0 end to end  actions +\d\.\de-\d+ +\d\.\de-\d+ +0\.99\d+  max error <= 0\.005 +ok\n", out)
    assert "actions, end to end over all cases\n" in out and re.search(r"joint_position +RMS \S+ rad, largest", out)


def test_int8_is_held_to_its_budget(capsys: pytest.CaptureFixture[str], int8_bundle: Path, small_bundle: Path) -> None:
    status, out, _ = run(capsys, "verify", int8_bundle, small_bundle, "--json")
    limits = {c["tensor"]: c["limit"] for c in json.loads(out)["checks"]}
    assert status == 0 and limits["actions"] == {"measure": "rms_relative", "value": 0.2}


def test_the_order_does_not_change_the_limits(
    capsys: pytest.CaptureFixture[str], fp16_bundle: Path, small_bundle: Path
) -> None:
    status, out, _ = run(capsys, "verify", small_bundle, fp16_bundle, "--json")
    assert status == 0 and {c["limit"]["value"] for c in json.loads(out)["checks"]} == {5e-3}


def test_a_bundle_is_exactly_itself(capsys: pytest.CaptureFixture[str], small_bundle: Path) -> None:
    status, out, _ = run(capsys, "verify", small_bundle, small_bundle, "--json")
    assert status == 0 and {c["max_relative"] for c in json.loads(out)["checks"]} == {0}


def test_a_stage_that_acts_otherwise_is_found_alone_and_in_the_chain(
    capsys: pytest.CaptureFixture[str], bundle_copy: Path, small_bundle: Path
) -> None:
    """The last LayerNorm of the Video Former is scaled, and the manifest with it: tokens are wrong, `act` is not."""
    path = bundle_copy / "onnx" / "perceive.onnx"
    model = onnx.load(path)
    (output,) = (o.name for o in model.graph.output)
    (last,) = (node for node in model.graph.node if output in node.output)
    last.output[0] = "before"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.5), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "factor"], [output], name="louder"))
    (bundle_copy / "onnx" / "perceive.onnx.data").unlink()
    onnx.save(model, path, save_as_external_data=True, location="perceive.onnx.data")
    files = {f"onnx/{p.name}": file_record(p) for p in (path, bundle_copy / "onnx" / "perceive.onnx.data")}
    records = {name: {"sha256": r.sha256, "bytes": r.size} for name, r in files.items()}
    edit_json(bundle_copy / "manifest.json", lambda data: data["files"].update(records))
    status, out, _ = run(capsys, "verify", bundle_copy, small_bundle, "--json")
    failed = {(c["case"].partition(" ")[2], c["tensor"]) for c in json.loads(out)["checks"] if not c["passed"]}
    assert status == 1
    assert failed == {("alone", "tokens"), ("end to end", "tokens"), ("end to end", "actions")}
    assert "does not act like its reference" in run(capsys, "verify", bundle_copy, small_bundle)[1]


def test_other_settings_of_one_checkpoint_are_compared_and_named(
    capsys: pytest.CaptureFixture[str], approximate_bundle: Path, small_bundle: Path
) -> None:
    status, out, _ = run(capsys, "verify", approximate_bundle, small_bundle, "--json")
    answer = json.loads(out)
    assert status == 1 and {note.partition(":")[0] for note in answer["notes"]} == {
        "they differ in sigmas",
        "they differ in sampler",
        "they differ in computed_frames",
    }


def retrained(data: dict[str, Any]) -> None:
    data["provenance"]["checkpoint_sha256"]["policy"] = {"policy.pt": "0" * 64}


def slower(data: dict[str, Any]) -> None:
    data["policy"]["action"]["period_ns"] *= 2


def other_shape(data: dict[str, Any]) -> None:
    (act,) = (s for s in data["stages"] if s["name"] == "act")
    act["outputs"][0]["shape"] = [1, 4, 19]


def without_origin(data: dict[str, Any]) -> None:
    data["provenance"] = {"checkpoint_sha256": ["nonsense"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([retrained, slower], ("of different policies: they differ in the trained policy, and in action: ",)),
        ([without_origin, slower], ("they differ in the trained video model, text encoder, policy, and in action",)),
        ([other_shape], ("stage act of ", "take or give other tensors")),
    ],
)
def test_different_policies_are_status_2_and_the_difference_is_named(
    capsys: pytest.CaptureFixture[str],
    bundle_copy: Path,
    small_bundle: Path,
    changes: list[Callable[[dict[str, Any]], None]],
    said: tuple[str, ...],
) -> None:
    for change in changes:
        edit_json(bundle_copy / "manifest.json", change)
    status, out, err = run(capsys, "verify", small_bundle, bundle_copy)
    assert (status, out) == (2, "") and all(words in err for words in said)


@pytest.mark.parametrize(
    ("change", "note"), [(retrained, "exported from different checkpoints (another policy)"), (slower, "in action: ")]
)
def test_what_differs_in_one_policy_is_a_note(
    capsys: pytest.CaptureFixture[str],
    bundle_copy: Path,
    small_bundle: Path,
    change: Callable[[dict[str, Any]], None],
    note: str,
) -> None:
    edit_json(bundle_copy / "manifest.json", change)
    status, out, _ = run(capsys, "verify", small_bundle, bundle_copy)
    assert status == 0 and f"note: they {'were ' if 'exported' in note else 'differ '}{note}" in out


def test_a_damaged_reference_is_status_2(
    capsys: pytest.CaptureFixture[str], bundle_copy: Path, small_bundle: Path, tmp_path: Path
) -> None:
    (bundle_copy / "onnx" / "act.onnx").write_bytes(b"")
    status, _, err = run(capsys, "verify", small_bundle, bundle_copy)
    assert status == 2 and "act.onnx: 0 bytes" in err
    assert run(capsys, "verify", small_bundle, small_bundle, "--hashes-only")[0] == 2
    shutil.rmtree(bundle_copy)
    assert run(capsys, "verify", small_bundle, bundle_copy)[0] == 2
