"""An AutoencoderTiny as image encoder: read from a checkpoint folder, or refused with what is wrong about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from edited import edit_json, edit_tensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_policy import TINY_VAE

from vpp_edge.checkpoint.parts import read_configs
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, read_checkpoint
from vpp_edge.checkpoint.shapes import vae_shapes
from vpp_edge.checkpoint.vaes import checked_vae_config, latent_factor
from vpp_edge.errors import CheckpointError
from vpp_edge.model.policy import policy_from_checkpoint

CONFIG, WEIGHTS = "svd/vae/config.json", "svd/vae/diffusion_pytorch_model.safetensors"
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-2, 70), st.sampled_from([10**9, 10**400, 1e308]), st.floats(),
        st.text(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture
def copy(tiny_vae_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_vae_checkpoint, tmp_path / "checkpoint"))


def read(folder: Path) -> Checkpoint:
    return read_checkpoint(paths_from_folder(folder))


def refused_configuration(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_configs(folder / "svd", folder / "clip")
    return str(error.value)


def test_it_is_read_by_the_class_that_its_configuration_names(tiny_vae_checkpoint: Path) -> None:
    checkpoint = read(tiny_vae_checkpoint)
    assert checkpoint.notes == ()
    assert checkpoint.spec.frames_shape == (2, TINY_VAE.image, TINY_VAE.image, 3)
    assert checkpoint.spec.video_noise_shape == (2, 16, 4, TINY_VAE.image // 8, TINY_VAE.image // 8)


def test_diffusers_builds_the_folder_too(tiny_vae_checkpoint: Path) -> None:
    from diffusers import AutoencoderTiny, StableVideoDiffusionPipeline

    pipeline = StableVideoDiffusionPipeline.from_pretrained(tiny_vae_checkpoint / "svd", feature_extractor=None)
    assert isinstance(pipeline.vae, AutoencoderTiny)


@torch.no_grad()
def test_an_untrained_one_looks_at_the_image(tiny_vae_checkpoint: Path) -> None:
    video = policy_from_checkpoint(read(tiny_vae_checkpoint)).video
    frames = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    latents, inverted = video.encode_images(frames), video.encode_images(255 - frames)
    assert 0.05 < latents.std() < 10 and (latents - inverted).std() > 0.3 * latents.std()


@pytest.mark.parametrize("kind", ["tiny_vae_checkpoint", "small_checkpoint"])
@torch.no_grad()
def test_the_decoder_may_be_left_out(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "checkpoint"))
    frames = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    before = policy_from_checkpoint(read(copy)).video.encode_images(frames)

    def remove(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("decoder.")]:
            del tensors[name]

    edit_tensors(copy / WEIGHTS, remove)
    after = policy_from_checkpoint(read(copy)).video.encode_images(frames)
    assert torch.equal(after, before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("encoder.layers.2.conv.2.bias"), "svd/vae: missing encoder.layers.2.conv.2.bias (32,)"),
        (lambda t: t.update({"encoder.conv_in.weight": torch.zeros(1)}), "svd/vae: extra encoder.conv_in.weight (1,)"),
        (
            lambda t: t.update({"decoder.layers.0.bias": torch.zeros(5)}),
            "svd/vae: misshapen decoder.layers.0.bias: expected (32,), got (5,)",
        ),
    ],
)
def test_tensors_of_another_network_are_named(
    copy: Path, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    edit_tensors(copy / WEIGHTS, change)
    with pytest.raises(CheckpointError) as error:
        read(copy)
    assert "1 problems" in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("_class_name", "AsymmetricAutoencoderKL", "expected a AutoencoderKLTemporalDecoder or AutoencoderTiny"),
        ("_class_name", ["AutoencoderTiny"], "expected a AutoencoderKLTemporalDecoder or AutoencoderTiny"),
        ("_class_name", "AutoencoderKLTemporalDecoder", "misses block_out_channels"),
        ("encoder_block_out_channels", [32, 32, 64, 64], "expected the same width for every size"),
        ("encoder_block_out_channels", [32, 32], "expected one number for each of the 2 encoder_block_out_channels"),
        ("encoder_block_out_channels", 64, "is 64, expected a list of 1 to 8 numbers"),
        ("encoder_block_out_channels", [0] * 4, "encoder_block_out_channels is 0"),
        ("num_encoder_blocks", [1, 1, 1, 17], "num_encoder_blocks is 17, expected a whole number from 0 to 16"),
        ("num_decoder_blocks", [10**9] * 4, "num_decoder_blocks is 1000000000"),
        ("decoder_block_out_channels", [64] * 100, "expected a list of 1 to 8 numbers"),
        ("latent_channels", 1.5, "latent_channels is 1.5"),
        ("in_channels", 4, "in_channels is 4, expected 3: the policy sees RGB images"),
    ],
)
def test_configurations_that_no_encoder_can_have_are_refused(copy: Path, key: str, value: Any, said: str) -> None:
    edit_json(copy / CONFIG, lambda config: (config.pop("block_out_channels"), config.update({key: value})))
    edit_json(copy / "svd" / "model_index.json", lambda index: index.pop("vae"))
    message = refused_configuration(copy)
    assert CONFIG in message and said in message


@pytest.mark.parametrize("key", ["encoder_block_out_channels", "num_encoder_blocks", "latent_channels"])
def test_a_configuration_without_a_size_is_refused(copy: Path, key: str) -> None:
    edit_json(copy / CONFIG, lambda config: config.pop(key))
    assert f"misses {key}" in refused_configuration(copy)


def test_an_activation_that_diffusers_does_not_have_is_refused(copy: Path) -> None:
    edit_json(copy / CONFIG, lambda config: config.update(act_fn="cubic"))
    with pytest.raises(CheckpointError, match=r"svd/vae/config\.json: cannot build the model from it"):
        read(copy)


def test_an_index_that_names_another_class_is_refused(copy: Path) -> None:
    """diffusers would build that class, with weights that it draws."""
    named = ["diffusers", "AutoencoderKLTemporalDecoder"]
    edit_json(copy / "svd" / "model_index.json", lambda index: index.update(vae=named))
    message = refused_configuration(copy)
    assert "model_index.json: names 'AutoencoderKLTemporalDecoder' as vae" in message
    assert '"vae": ["diffusers", "AutoencoderTiny"]' in message


@settings(
    derandomize=True, deadline=None, database=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(data=st.data(), value=VALUES)
def test_any_configuration_is_refused_or_gives_an_encoder_of_rgb(
    tiny_vae_checkpoint: Path, data: st.DataObject, value: Any
) -> None:
    config = json.loads((tiny_vae_checkpoint / CONFIG).read_text())
    key = data.draw(st.sampled_from(sorted(set(config) - {"_class_name"})))
    try:
        checked = checked_vae_config(config | {key: value}, Path(CONFIG))
        shapes = vae_shapes(checked)
    except CheckpointError as error:
        assert len(str(error)) < 1500
    else:
        assert shapes["encoder.layers.0.weight"][1] == 3
        assert latent_factor(checked) in [2**halvings for halvings in range(8)]
