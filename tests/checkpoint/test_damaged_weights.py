"""NaN and infinite weights are found where they are read, with file and tensor, not after minutes of work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edited import edit_policy, edit_tensors

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.errors import CheckpointError

WEIGHTS = {
    "svd/unet/diffusion_pytorch_model.safetensors": "conv_in.weight",
    "svd/vae/diffusion_pytorch_model.safetensors": "encoder.conv_in.bias",
    "clip/model.safetensors": "text_projection.weight",
}


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(paths_from_folder(folder))
    return str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("file", WEIGHTS)
def test_the_file_and_the_tensor_are_named(small_copy: Path, file: str, value: float) -> None:
    name = WEIGHTS[file]
    edit_tensors(small_copy / file, lambda tensors: tensors[name].view(-1)[:3].fill_(value))
    message = refusal(small_copy)
    assert f"{file}: {name} holds 3 NaN or infinite of" in message
    assert "earlier checkpoint" in message


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["Video_Former.latents", "model.inner_model.action_pred.bias"])
def test_a_policy_whose_training_diverged(small_copy: Path, name: str, dtype: torch.dtype) -> None:
    def change(tensors: dict[str, torch.Tensor], _: object) -> None:
        tensors[name] = tensors[name].to(dtype)
        tensors[name].view(-1)[0] = float("nan")
        tensors["model.inner_model.tok_emb.bias"].fill_(float("inf"))

    edit_policy(small_copy, change)
    message = refusal(small_copy)
    assert f"policy.pt: {name} holds 1 NaN" in message or "tok_emb.bias holds" in message
    assert "and 1 more tensors hold some" in message


def test_unused_weights_may_be_anything(small_copy: Path) -> None:
    edit_policy(small_copy, lambda tensors, _: tensors["model.inner_model.pos_emb"].fill_(float("nan")))
    read_checkpoint(paths_from_folder(small_copy))
