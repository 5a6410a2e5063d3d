"""What training tools put into the names of weights is stripped where that gives the model's names, and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edited import edit_policy, edit_tensors

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.checkpoint.training_names import unwrapped
from vpp_edge.errors import CheckpointError

Rename = Callable[[str], str]
RENAMES: dict[str, tuple[Rename, str]] = {
    "DataParallel": (lambda name: f"module.{name}", "`module.`"),
    "compile": (lambda name: f"_orig_mod.{name}", "`_orig_mod.`"),
    "both": (lambda name: f"module._orig_mod.{name}", "`_orig_mod.` and `module.`"),
    "FSDP inside": (lambda name: name.replace(".", "._fsdp_wrapped_module.", 1), "`_fsdp_wrapped_module.`"),
    "compile of a block": (lambda name: name.replace(".0.", ".0._orig_mod.", 1), "`_orig_mod.`"),
    "an attribute": (lambda name: f"policy.{name}", "`policy.`"),
    "two attributes": (lambda name: f"agent.policy.{name}", "`agent.policy.`"),
    "Lightning": (lambda name: f"model.{name}", "`model.`"),
    "all": (lambda name: f"agent.module.{name}", "`module.` and `agent.`"),
}


def rename(tensors: dict[str, torch.Tensor], how: Rename) -> None:
    renamed = {how(name): tensor for name, tensor in tensors.items()}
    tensors.clear()
    tensors.update(renamed)


@pytest.mark.parametrize("tool", RENAMES)
def test_names_of_a_policy(small_copy: Path, tool: str) -> None:
    how, stripped = RENAMES[tool]
    edit_policy(small_copy, lambda tensors, _: rename(tensors, how))
    checkpoint = read_checkpoint(paths_from_folder(small_copy))
    assert checkpoint.notes == (f"policy.pt: {stripped} was taken from the names of the weights",)
    assert "norm.weight" in checkpoint.former and "action_pred.bias" in checkpoint.head


@pytest.mark.parametrize("tool", RENAMES)
@pytest.mark.parametrize("part", ["svd/unet/diffusion_pytorch_model", "svd/vae/diffusion_pytorch_model", "clip/model"])
def test_names_of_the_other_parts(small_copy: Path, tool: str, part: str) -> None:
    how, stripped = RENAMES[tool]
    edit_tensors(small_copy / f"{part}.safetensors", lambda tensors: rename(tensors, how))
    (note,) = read_checkpoint(paths_from_folder(small_copy)).notes
    file = part.removeprefix("svd/")
    assert note == f"{file}.safetensors: {stripped} was taken from the names of the weights"


def test_averaging_counts_are_no_weights(small_copy: Path) -> None:
    """As torch's AveragedModel saves itself."""

    def change(tensors: dict[str, torch.Tensor], _: object) -> None:
        rename(tensors, lambda name: f"module.{name}")
        tensors["n_averaged"] = torch.tensor(3)

    edit_policy(small_copy, change)
    read_checkpoint(paths_from_folder(small_copy))


def test_two_models_under_one_name_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"holds a twice, as module\.a and under another prefix"):
        unwrapped({"a": 1, "module.a": 2}, anchors=("a",), where="policy.pt")


def test_right_names_stay_as_they_are() -> None:
    tensors = {"conv_in.weight": 1, "encoder.conv_in.weight": 2, "n_averaged": 3}
    assert unwrapped(tensors, anchors=("conv_in.weight",), where="x") == (tensors, ())
