"""Reading whole checkpoints: the right sizes, or one error that names everything that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from edited import edit_json, edit_policy, edit_tensors
from material import Golden
from small_policy import SMALL

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.errors import CheckpointError


def read(folder: Path, **choices: Any) -> Checkpoint:
    return read_checkpoint(paths_from_folder(folder), Choices(**choices))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read(folder)
    return str(error.value)


def test_golden_checkpoints_are_read_with_their_sizes(golden: Golden) -> None:
    checkpoint = read(golden.checkpoint)
    spec, said = checkpoint.spec, golden.spec["policy_config"]["model"]
    assert spec.variant == golden.spec["variant"]
    assert spec.frames_shape == golden.arrays["0/frames"].shape
    assert spec.video_noise_shape == golden.arrays["0/video_noise"].shape
    assert (1, *spec.chunk_shape) == golden.arrays["0/action_noise"].shape
    assert (1, *spec.tokens) == golden.arrays["0/tokens"].shape
    assert (spec.state is not None) == ("0/proprio" in golden.arrays)
    assert len(spec.sigmas) == said["num_sampling_steps"] + 1
    assert (spec.sigmas[0], spec.sigmas[-1]) == (pytest.approx(said["sigma_max"]), 0)
    assert spec.sigmas[-2] == pytest.approx(said["sigma_min"])
    assert checkpoint.config.former.kind == "3d"
    assert checkpoint.config.all_layers == said.get("use_all_layer", False)
    assert checkpoint.notes == ()


def test_the_small_policy_has_the_sizes_that_were_asked_for(small_checkpoint: Path) -> None:
    spec = read(small_checkpoint).spec
    assert spec.variant == "xhand"
    assert spec.frames_shape == (2, SMALL.image, SMALL.image, 3)
    assert spec.tokens == (16 * SMALL.queries, SMALL.width)
    assert spec.chunk_shape == (SMALL.horizon, SMALL.actions)  # the horizon is behind ${act_seq_len}
    assert spec.state is not None and spec.state.dims == SMALL.proprio
    assert len(spec.sigmas) == SMALL.steps + 1


def test_choices_replace_what_the_checkpoint_does_not_tell(small_checkpoint: Path) -> None:
    spec = read(small_checkpoint, cameras=3, action_rate_hz=25, quaternion_order="wxyz", steps=5).spec
    assert [c.name for c in spec.cameras] == ["static", "wrist", "wrist2"]
    assert spec.action.period_ns == 40_000_000
    assert spec.state is not None and spec.state.quaternion_order == "wxyz"
    assert len(spec.sigmas) == 6


def test_one_sampling_step_is_said_to_be_for_naive_chunking(small_checkpoint: Path) -> None:
    (note,) = read(small_checkpoint, steps=1).notes
    assert "--chunking naive" in note
    assert read(small_checkpoint, steps=2).notes == ()


@pytest.mark.parametrize("wrong", [{"variant": "panda"}, {"cameras": 0}, {"action_rate_hz": 0}, {"steps": 0}])
def test_choices_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        Choices(**wrong)


def test_missing_extra_and_misshapen_tensors_are_all_named_in_one_error(small_copy: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], arguments: dict[str, Any]) -> None:
        del tensors["Video_Former.norm.weight"]
        tensors["Video_Former.layers.0.0.to_spare.weight"] = torch.zeros(2, 3)
        tensors["model.inner_model.decoder.ln.weight"] = torch.zeros(5)
        tensors["something_else.weight"] = torch.zeros(1)

    edit_policy(small_copy, change)

    def change_unet(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["conv_in.weight"]

    edit_tensors(small_copy / "svd" / "unet" / "diffusion_pytorch_model.safetensors", change_unet)
    message = refusal(small_copy)
    assert "5 problems" in message
    assert "svd/unet: missing conv_in.weight (32, 8, 3, 3)" in message
    assert "policy.pt Video_Former: missing norm.weight (32,)" in message
    assert "policy.pt Video_Former: extra layers.0.0.to_spare.weight (2, 3)" in message
    assert "policy.pt action head: misshapen decoder.ln.weight: expected (32,), got (5,)" in message
    assert "policy.pt: extra something_else.weight (1,)" in message


def test_a_missing_tensor_that_tells_a_size_is_named(small_copy: Path) -> None:
    edit_policy(small_copy, lambda tensors, _: tensors.pop("Video_Former.latents"))
    assert "missing Video_Former.latents" in refusal(small_copy)


def test_unused_tensors_may_be_absent(small_copy: Path) -> None:
    edit_policy(small_copy, lambda tensors, _: tensors.pop("model.inner_model.goal_emb.0.weight"))
    read(small_copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [("sampler_type", "heun"), ("sampler_type", "dpmpp_2m_sde"), ("noise_scheduler", "karras")],
)
def test_samplers_and_schedules_that_are_not_built_are_refused_by_name(small_copy: Path, key: str, value: str) -> None:
    edit_policy(small_copy, lambda _, arguments: arguments["model"].update({key: value}))
    assert f"args.model.{key} '{value}' is not supported" in refusal(small_copy)


@pytest.mark.parametrize(
    ("key", "value"), [("action_dim", 17), ("num_latents", 33), ("latent_dim", 64), ("Former_depth", 2)]
)
def test_arguments_that_contradict_the_tensors_are_refused(small_copy: Path, key: str, value: int) -> None:
    edit_policy(small_copy, lambda _, arguments: arguments["model"].update({key: value}))
    assert f"args.model.{key} is {value}, the tensors have" in refusal(small_copy)


def test_the_video_former_must_fit_the_extracted_features(small_copy: Path) -> None:
    edit_policy(small_copy, lambda _, arguments: arguments["model"].update({"use_all_layer": True}))
    assert "Video Former takes 32 channels, all up blocks to 1 gives 64" in refusal(small_copy)


@pytest.mark.parametrize(
    ("file", "key", "value", "said"),
    [
        ("svd/unet/config.json", "_class_name", "UNet2DConditionModel", "holds a UNet2DConditionModel, expected"),
        ("svd/vae/config.json", "_class_name", "AutoencoderKL", "holds a AutoencoderKL, expected"),
        ("svd/model_index.json", "_class_name", "StableDiffusionPipeline", "holds a StableDiffusionPipeline"),
        ("svd/scheduler/scheduler_config.json", "_class_name", "DDIMScheduler", "holds a DDIMScheduler"),
        ("clip/config.json", "model_type", "t5", "holds a t5 model, expected the CLIP text encoder"),
    ],
)
def test_models_of_another_type_are_named(small_copy: Path, file: str, key: str, value: str, said: str) -> None:
    edit_json(small_copy / file, lambda data: data.update({key: value}))
    message = refusal(small_copy)
    assert file in message
    assert said in message


def test_a_text_encoder_of_another_width_is_refused(small_copy: Path) -> None:
    edit_json(small_copy / "clip" / "config.json", lambda data: data.update({"projection_dim": 48}))
    assert "takes a goal of width 32, the text encoder in clip/ gives 48" in refusal(small_copy)


@pytest.mark.parametrize("prefix", ["TVP_encoder.text_encoder.", "text_encoder."])
def test_text_copies_that_differ_give_a_note(small_copy: Path, prefix: str) -> None:
    def change(tensors: dict[str, torch.Tensor], arguments: dict[str, Any]) -> None:
        tensors[f"{prefix}text_projection.weight"] = tensors[f"{prefix}text_projection.weight"] + 0.01

    edit_policy(small_copy, change)
    (note,) = read(small_copy).notes
    assert f"({prefix}*) differs from clip/" in note
    assert "text_projection.weight" in note


def test_an_openai_copy_is_compared_under_its_own_names(small_copy: Path) -> None:
    def add_copy(tensors: dict[str, torch.Tensor], arguments: dict[str, Any]) -> None:
        projection = tensors["text_encoder.text_projection.weight"]
        tensors["language_goal.clip_rn50.text_projection"] = projection.T.contiguous()
        tensors["language_goal.clip_rn50.visual.conv1.weight"] = torch.zeros(3)  # its visual half is ignored

    edit_policy(small_copy, add_copy)
    assert read(small_copy).notes == ()
    edit_policy(small_copy, lambda tensors, _: tensors["language_goal.clip_rn50.text_projection"].neg_())
    (note,) = read(small_copy).notes
    assert "language_goal.clip_rn50.*" in note


def test_half_precision_weights_become_float32(small_copy: Path) -> None:
    folder = small_copy / "svd" / "unet"
    edit_tensors(
        folder / "diffusion_pytorch_model.safetensors",
        lambda tensors: tensors.update({n: t.half() for n, t in tensors.items()}),
    )
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    assert {t.dtype for t in read(small_copy).unet.tensors.values()} == {torch.float32}


def test_the_parts_may_lie_apart_and_must_all_be_there(small_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(small_copy / "clip")
    (small_copy / "policy.pt").unlink()
    with pytest.raises(CheckpointError, match=r"missing clip, policy\.pt.*--text-encoder"):
        paths_from_folder(small_copy)
    with pytest.raises(CheckpointError, match="no such folder"):
        paths_from_folder(tmp_path / "nowhere")
