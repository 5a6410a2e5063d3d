"""Policies of other kinds and sizes than the golden ones are read, built and run with their own shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edited import edit_policy
from small_policy import SMALL

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.checkpoint.untrained import UntrainedSizes, write_untrained_checkpoint
from vpp_edge.errors import CheckpointError
from vpp_edge.export.parity import references_from_policy
from vpp_edge.export.samples import random_samples
from vpp_edge.export.tokenizer import load_tokenizer
from vpp_edge.model.policy import policy_from_checkpoint

SIZES = {
    "2d": replace(SMALL, kind="2d"),
    "linear": replace(SMALL, kind="linear"),
    "all layers": replace(SMALL, all_layers=True, channels=(32, 32, 64, 64)),
    "all layers linear": replace(SMALL, all_layers=True, kind="linear"),
    "other widths": replace(SMALL, width=48, text_width=64, channels=(32, 64, 64, 96), depth=3),
    "112 queries": replace(SMALL, queries=7),
    "no proprio": replace(SMALL, actions=7, proprio=None, horizon=10),
    "38 dims": replace(SMALL, actions=38, proprio=38),
    "larger image": replace(SMALL, image=192),
}


def written(folder: Path, sizes: UntrainedSizes, name: str = "xhand", **choices: Any) -> Checkpoint:
    write_untrained_checkpoint(folder, sizes, name=name)
    return read_checkpoint(paths_from_folder(folder), Choices(**choices))


@pytest.mark.parametrize("kind", SIZES)
def test_policies_of_other_sizes_compute_with_their_own_shapes(kind: str, tmp_path: Path) -> None:
    sizes = SIZES[kind]
    checkpoint = written(tmp_path, sizes, "calvin" if kind == "no proprio" else "xhand")
    spec, policy = checkpoint.spec, policy_from_checkpoint(checkpoint)
    (found,) = references_from_policy(policy, spec, load_tokenizer(tmp_path / "clip"), random_samples(spec, 1, seed=0))
    assert found.outputs["text_hidden"].shape == (1, 20, 2 * sizes.text_width)
    assert found.outputs["tokens"].shape == (1, *spec.tokens)
    assert found.outputs["actions"].shape == (1, sizes.horizon, sizes.actions)
    assert np.isfinite(found.outputs["actions"]).all()
    if sizes.kind != "linear":
        assert spec.tokens == (16 * sizes.queries, sizes.width)


@pytest.mark.parametrize("name", ["xbot", "xhand", "dexterous"])
def test_xbot_has_three_cameras_and_two_arms(name: str, tmp_path: Path) -> None:
    spec = written(tmp_path, SIZES["38 dims"], name).spec
    assert spec.variant == "xbot"
    assert [c.name for c in spec.cameras] == ["static", "wrist", "wrist2"]
    assert {s.arm for s in spec.action.segments} == {0, 1}
    assert all(s.offset_from_state for s in spec.action.segments)


@pytest.mark.parametrize("name", ["xbot", "xhand", "dexterous"])
def test_one_hand_is_xhand_under_any_name(name: str, tmp_path: Path) -> None:
    assert written(tmp_path, SMALL, name).spec.variant == "xhand"


def test_calvin_is_raw_and_has_no_state(tmp_path: Path) -> None:
    spec = written(tmp_path, SIZES["no proprio"], "calvin").spec
    assert (spec.variant, spec.state, spec.action.bounds) == ("calvin", None, None)
    assert [s.kind for s in spec.action.segments] == ["delta_position", "relative_rotation", "gripper"]


def test_an_unknown_action_width_is_said_to_be_raw(tmp_path: Path) -> None:
    spec = written(tmp_path, replace(SMALL, actions=9, proprio=None), "calvin").spec
    assert [s.kind for s in spec.action.segments] == ["raw"]


@pytest.mark.parametrize("kind", ["3d", "2d", "linear"])
def test_every_tensor_of_a_video_former_is_expected(kind: str, tmp_path: Path) -> None:
    """The error names the tensor that is missing, whichever it is."""
    write_untrained_checkpoint(tmp_path, replace(SMALL, kind=kind))
    content = torch.load(tmp_path / "policy.pt", weights_only=False)
    former = [name for name in content["model"] if name.startswith("Video_Former.")]
    for name in former:
        left = {n: t for n, t in content["model"].items() if n != name}
        torch.save({"model": left, "args": content["args"]}, tmp_path / "less.pt")
        paths = replace(paths_from_folder(tmp_path), policy=tmp_path / "less.pt")
        with pytest.raises(CheckpointError, match=r"missing|a 2d one") as error:
            read_checkpoint(paths)
        tells_the_kind = name in ("Video_Former.weight", "Video_Former.layers.0.1.qkv.weight")
        assert name.removeprefix("Video_Former.") in str(error.value) or tells_the_kind


def test_a_former_of_another_kind_than_said_is_refused(tmp_path: Path) -> None:
    write_untrained_checkpoint(tmp_path, replace(SMALL, kind="2d"))
    edit_policy(tmp_path, lambda _, arguments: arguments["model"].update(use_Former="3d"))
    with pytest.raises(CheckpointError, match="states a 3d Video Former, but the tensors are of a 2d one"):
        read_checkpoint(paths_from_folder(tmp_path))
