"""Numbers out of range in the arguments and the configurations are refused at the boundary, with key and bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edited import edit_json, edit_policy
from small_policy import SMALL

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.checkpoint.untrained import UntrainedSizes
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError, CheckpointError

UNET, VAE = "svd/unet/config.json", "svd/vae/config.json"
SCHEDULER, TEXT = "svd/scheduler/scheduler_config.json", "clip/config.json"


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(paths_from_folder(folder))
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max_length", 500, "expected a whole number from 2 to 77"),
        ("max_length", 0, "expected a whole number from 2 to 77"),
        ("act_window_size", -5, "expected a whole number from 1 to 1000"),
        ("act_window_size", 10**9, "expected a whole number from 1 to 1000"),
        ("num_sampling_steps", 0, "expected a whole number from 1 to 1000"),
        ("timestep", 10**6, "expected a whole number from 1 to 1000"),
        ("extract_layer_idx", -1, "expected a whole number from 0 to 7"),
        ("Former_heads", 0, "expected a whole number from 1"),
        ("sigma_data", 0, "expected a number from 0.001"),
        ("sigma_min", float("nan"), "expected a number from 1e-06"),
        ("sigma_max", float("inf"), "expected a number from 1e-06"),
        ("sigma_max", 0.0001, "is not below sigma_max"),
        ("proprio_dim", -19, "expected a whole number from 0"),
        ("use_all_layer", "False", "expected true or false"),
        ("use_position_encoding", "off", ""),
    ],
)
def test_arguments(small_copy: Path, key: str, value: Any, said: str) -> None:
    edit_policy(small_copy, lambda _, arguments: arguments["model"].update({key: value}))
    if key == "use_position_encoding":
        read_checkpoint(paths_from_folder(small_copy))  # a real-robot policy always has it
        return
    message = refusal(small_copy)
    assert f"policy.pt: args.model.{key}" in message or key.startswith("sigma_m")
    assert said in message


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        (UNET, "sample_size", None, "sample_size is None, expected a whole number"),
        (UNET, "sample_size", [48, 64], "sample_size is [48, 64], expected one number: VPP's images are square"),
        (UNET, "sample_size", 24, "sample_size is 24, expected a multiple of 24 from 48"),
        (UNET, "sample_size", 50, "sample_size is 50, expected a multiple of 24 from 48"),
        (UNET, "block_out_channels", [32, 0, 32, 32], "block_out_channels is 0"),
        (UNET, "block_out_channels", [33, 33, 33, 33], "cannot build the model from it"),
        (UNET, "block_out_channels", [], "expected a list of 1 to 8 numbers"),
        (UNET, "layers_per_block", 10**9, "layers_per_block is 1000000000, expected a whole number from 1 to 16"),
        (UNET, "num_attention_heads", 0, "num_attention_heads is 0"),
        (UNET, "down_block_types", ["DownBlockSpatioTemporal"], "expected one name for each of the 4"),
        (UNET, "cross_attention_dim", "64", "cross_attention_dim is '64'"),
        (UNET, "addition_time_embed_dim", -1, "addition_time_embed_dim is -1"),
        (UNET, "addition_time_embed_dim", 128, "expected 3 times addition_time_embed_dim (128)"),
        (VAE, "latent_channels", 0, "latent_channels is 0"),
        (VAE, "latent_channels", 1.5, "latent_channels is 1.5"),
        (VAE, "block_out_channels", None, "block_out_channels is None"),
        (VAE, "down_block_types", 3, "down_block_types is 3"),
        (SCHEDULER, "num_train_timesteps", 0, "num_train_timesteps is 0"),
        (SCHEDULER, "num_train_timesteps", 10, "args.model.timestep is 20"),
        (SCHEDULER, "beta_schedule", "sine", "cannot build the scheduler from it"),
        (SCHEDULER, "sigma_max", "many", "cannot build the scheduler from it"),
        (TEXT, "hidden_size", 0, "hidden_size is 0"),
        (TEXT, "num_hidden_layers", 10**6, "num_hidden_layers is 1000000"),
        (TEXT, "max_position_embeddings", 20, "expected at least the 77 tokens"),
        (TEXT, "vocab_size", -1, "vocab_size is -1"),
        (TEXT, "vocab_size", 100, "clip/"),
        (TEXT, "eos_token_id", 10**7, "eos_token_id is 10000000"),
        (TEXT, "num_attention_heads", 5, "cannot build the model from it"),
    ],
)
def test_configurations(small_copy: Path, file: str, key: str, value: Any, said: str) -> None:
    edit_json(small_copy / file, lambda config: config.update({key: value}))
    message = refusal(small_copy)
    assert said in message
    assert Path(file).parent.name in message or "timestep" in message


def test_the_command_ends_with_status_2(small_copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    edit_policy(small_copy, lambda _, arguments: arguments["model"].update(act_window_size=-5))
    assert main(["export", str(small_copy), "-o", str(tmp_path / "bundle")]) == 2
    assert "args.model.act_window_size is -5, expected a whole number from 1 to 1000" in capsys.readouterr().err


@pytest.mark.parametrize("image", [0, -64, 64, 100])
def test_images_that_the_video_model_cannot_halve_are_refused(image: int) -> None:
    with pytest.raises(BadInputError, match=f"image side {image} is not a multiple of 64 from 128"):
        UntrainedSizes(image=image)
    assert UntrainedSizes(image=SMALL.image).image == SMALL.image


@pytest.mark.parametrize(
    "size",
    [
        {"frames": 0}, {"queries": -1}, {"width": 24}, {"channels": (32, 32, 32)}, {"channels": (32, 48, 32, 32)},
        {"vae_channels": (32,)}, {"kind": "4d"}, {"actions": 0}, {"horizon": 1.5}, {"proprio": 0}, {"steps": True},
        {"text_width": 30}, {"text_width": 33}, {"attention_heads": 3}, {"attention_heads": (2, 2)}, {"depth": 0},
        {"time_width": 31}, {"vae": "huge"}, {"tiny_blocks": (1, 1)}, {"tiny_blocks": (-1, 1, 1, 1)},
        {"vae_channels": (32, 32, 32, 64), "vae": "tiny"},
    ],
)  # fmt: skip
def test_sizes_that_no_policy_can_have_are_refused(size: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match=next(iter(size))):
        replace(SMALL, **size)
