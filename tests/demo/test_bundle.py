"""The demo policy is exported once, and again when it is not what it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.demo import bundle as demo_policy
from vpp_edge.demo.bundle import DemoOptions, demo_bundle
from vpp_edge.demo.observations import expert_observations
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.errors import BadInputError

AS_TRAINED = DemoOptions()


class Exported(Exception):
    """An export was started."""


@pytest.fixture
def folder(small_checkpoint: Path, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which an earlier call left the bundle of the small policy."""

    def export(*_: object) -> None:
        raise Exported

    monkeypatch.setitem(POLICIES, DEMO, replace(POLICIES[DEMO], folder=small_checkpoint))
    monkeypatch.setattr(demo_policy, "export_bundle", export)
    shutil.copytree(small_bundle, tmp_path / "bundle-fp32")
    return tmp_path


def made(folder: Path, options: DemoOptions = AS_TRAINED, fresh: bool = False) -> Path:
    return demo_bundle(folder, options, fresh=fresh, quiet=True, say=lambda text: None)


def test_an_undamaged_bundle_is_used_again(folder: Path) -> None:
    assert made(folder) == folder / "bundle-fp32"
    with pytest.raises(Exported):
        made(folder, AS_TRAINED, fresh=True)
    with pytest.raises(Exported):
        made(folder, DemoOptions(steps=2))


def test_a_damaged_bundle_is_not(folder: Path) -> None:
    with (folder / "bundle-fp32" / "onnx" / "act.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    with pytest.raises(Exported):
        made(folder)


def test_the_bundle_of_other_weights_is_not(folder: Path, small_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (small_copy / "policy.pt").open("ab") as file:
        file.write(b"\0")
    monkeypatch.setitem(POLICIES, DEMO, replace(POLICIES[DEMO], folder=small_copy))
    with pytest.raises(Exported):
        made(folder)


@pytest.mark.slow
def test_lower_precision_is_made_from_the_float32_bundle(folder: Path) -> None:
    bundle = Bundle(made(folder, DemoOptions("fp16")))
    assert bundle.path == folder / "bundle-fp16"
    assert {stage.precision for stage in bundle.manifest.stages.values()} >= {"fp16"}
    assert "simulated expert" in bundle.manifest.certificate["data"]


def test_every_choice_has_a_folder_of_its_own() -> None:
    choices = [DemoOptions(), DemoOptions("int8"), DemoOptions(steps=4), DemoOptions(solver="ddim", frames=4)]
    assert [choice.folder_name for choice in choices] == [
        "bundle-fp32",
        "bundle-int8",
        "bundle-fp32-steps4",
        "bundle-fp32-solverddim-frames4",
    ]
    with pytest.raises(BadInputError, match="int4"):
        DemoOptions("int4")


def test_observations_of_the_expert_fit_the_policy_and_repeat(small_bundle: Path) -> None:
    spec = Bundle(small_bundle).manifest.policy
    first, again = (expert_observations(spec, 3, seed=0).samples for _ in range(2))
    for sample, same in zip(first, again, strict=True):
        assert sample.frames.shape == spec.frames_shape and sample.proprio is not None
        np.testing.assert_array_equal(sample.frames, same.frames)
        np.testing.assert_array_equal(sample.action_noise, same.action_noise)
    assert len({sample.frames.tobytes() for sample in first}) == 3
