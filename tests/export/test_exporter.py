"""Export as a whole: a bundle or nothing, whatever interrupts it. Tracing is replaced by graphs of an earlier one."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch

from vpp_edge import EdgePolicy
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.errors import BadInputError, CheckFailedError, CheckpointError
from vpp_edge.export import bundle_writer, exporter
from vpp_edge.export.exporter import PROGRESS_STAGES, ExportOptions, export_bundle
from vpp_edge.export.onnx_writer import example_input, write_onnx
from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.model.policy import policy_from_checkpoint

Report = Callable[[str, float], None]


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.usefixtures("traced_before")
def test_a_bundle_is_reported_stage_by_stage_and_loads(small_checkpoint: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    target = tmp_path / "new" / "bundle"
    manifest = export_bundle(
        paths_from_folder(small_checkpoint), target, report=lambda stage, share: seen.append((stage, share))
    )
    assert list(dict.fromkeys(stage for stage, _ in seen)) == [stage for stage, _ in PROGRESS_STAGES]
    assert all(0 <= share <= 1 for _, share in seen)
    bundle = Bundle(target)
    bundle.verify_all()
    assert json.loads(json.dumps(bundle.manifest.to_json())) == json.loads(json.dumps(manifest.to_json()))
    assert left_in(target.parent) == ["bundle"]
    EdgePolicy.load(target)


@pytest.mark.usefixtures("traced_before")
@pytest.mark.parametrize("stage", [stage for stage, _ in PROGRESS_STAGES])
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_export_leaves_nothing(
    small_checkpoint: Path, tmp_path: Path, stage: str, existing: bool
) -> None:
    target = tmp_path / "bundle"
    if existing:
        target.mkdir()
        (target / "manifest.json").write_text("old")

    def interrupt(reported: str, share: float) -> None:
        if reported == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(paths_from_folder(small_checkpoint), target, ExportOptions(overwrite=existing), interrupt)
    assert left_in(tmp_path) == (["bundle"] if existing else [])
    if existing:
        assert (target / "manifest.json").read_text() == "old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("when", ["perceive", "manifest"])
@pytest.mark.usefixtures("traced_before")
def test_a_full_disk_leaves_nothing_and_says_so(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, code: int
) -> None:
    write = exporter.write_onnx

    def full(stage: Stage, folder: Path) -> tuple[Path, Path]:
        if stage.name != when:
            return write(stage, folder)
        (folder / "perceive.onnx").write_bytes(b"half of it")
        raise OSError(code, "No space left on device")

    def full_at_the_end(path: Path, text: str) -> None:
        path.write_text(text[:100])
        raise OSError(code, "No space left on device")

    monkeypatch.setattr(exporter, "write_onnx", full)
    if when == "manifest":
        monkeypatch.setattr(bundle_writer, "_write_synced", full_at_the_end)
    with pytest.raises(BadInputError, match=r"no space left for .*Nothing was written"):
        export_bundle(paths_from_folder(small_checkpoint), tmp_path / "bundle")
    assert left_in(tmp_path) == []


@pytest.mark.usefixtures("traced_before")
def test_an_existing_target_is_left_alone_unless_it_is_a_bundle_to_overwrite(
    small_checkpoint: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    paths = paths_from_folder(small_checkpoint)
    before = (bundle_copy / "manifest.json").read_bytes()
    with pytest.raises(BadInputError, match=r"exists\. .*--overwrite"):
        export_bundle(paths, bundle_copy)
    assert (bundle_copy / "manifest.json").read_bytes() == before

    export_bundle(paths, bundle_copy, ExportOptions(overwrite=True, seed=5))
    assert Bundle(bundle_copy).manifest.provenance["options"]["seed"] == 5
    assert left_in(bundle_copy.parent) == ["bundle"]

    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "cat.jpg").touch()
    with pytest.raises(BadInputError, match="is not a bundle"):
        export_bundle(paths, photographs, ExportOptions(overwrite=True))
    assert left_in(photographs) == ["cat.jpg"]


def test_a_graph_that_is_not_the_model_is_not_written(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight of a thousand changes between reference and export, by a percent."""

    def spoil(stage: Stage, folder: Path) -> tuple[Path, Path]:
        with torch.no_grad():
            next(p for p in stage.module.parameters() if p.dim() == 2)[:, 0] *= 1.01
        return write_onnx(stage, folder)

    monkeypatch.setattr(exporter, "write_onnx", spoil)
    with pytest.raises(CheckFailedError, match=r"exported stage text does not match the model .*No bundle was written"):
        export_bundle(paths_from_folder(small_checkpoint), tmp_path / "bundle")
    assert left_in(tmp_path) == []


def test_a_checkpoint_that_is_refused_leaves_nothing(small_copy: Path, tmp_path: Path) -> None:
    (small_copy / "policy.pt").write_bytes(b"")
    with pytest.raises(CheckpointError):
        export_bundle(paths_from_folder(small_copy), tmp_path / "made" / "bundle")
    assert left_in(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("steps", [1, 5])
def test_the_steps_of_the_sampler_are_the_requested_ones(small_checkpoint: Path, tmp_path: Path, steps: int) -> None:
    """`act` alone is exported and compared with the eager policy at that number of steps."""
    checkpoint = read_checkpoint(paths_from_folder(small_checkpoint), Choices(steps=steps))
    policy, spec = policy_from_checkpoint(checkpoint), checkpoint.spec
    assert len(spec.sigmas) == steps + 1
    (act,) = (s for s in stages_from_policy(policy, spec) if s.name == "act")
    graph, _ = write_onnx(act, tmp_path)
    generator = torch.Generator().manual_seed(0)
    inputs = {s.name: torch.randn(s.shape, generator=generator) for s in act.inputs}
    inputs["prefix_weight"] = example_input(act.inputs[-1]) * 0
    (found,) = onnxruntime.InferenceSession(graph).run(None, {n: t.numpy() for n, t in inputs.items()})
    expected = policy.act(inputs["tokens"], inputs["goal"], inputs["proprio"], inputs["action_noise"])
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
