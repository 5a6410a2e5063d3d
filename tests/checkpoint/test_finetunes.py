"""What a finetune leaves beside the weights is found and said: averaged weights, a LoRA, quantized and other files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from vpp_edge.checkpoint.averaged import is_averaged
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.cli.main import main
from vpp_edge.errors import CheckpointError

UNET = "diffusion_pytorch_model.safetensors"
QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "conv_in"
BIAS = "model.inner_model.action_pred.bias"
RANK = 2


def read(folder: Path, **choices: Any) -> Checkpoint:
    return read_checkpoint(paths_from_folder(folder), Choices(**choices))


def refusal(folder: Path, **choices: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        read(folder, **choices)
    return str(error.value)


def add_to_policy(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(folder / "policy.pt", weights_only=False)
    change(content)
    torch.save(content, folder / "policy.pt")


def lora(weight: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The two factors of a LoRA for a weight."""
    generator = torch.Generator().manual_seed(seed)
    kernel = (1,) * (weight.ndim - 2)
    down = torch.randn(RANK, *weight.shape[1:], generator=generator)
    return down, torch.randn(weight.shape[0], RANK, *kernel, generator=generator)


# --- averaged weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        lambda content, ema: content.update(ema=ema),
        lambda content, ema: content.update(model_ema={"decay": 0.999, "state_dict": ema}),
        lambda content, ema: content.update(ema_model={f"module.{n}": t for n, t in ema.items()}),
        lambda content, ema: content.update(callbacks={"EMA": {"ema_weights": ema, "cur_step": 3}}),
        lambda content, ema: content["model"].update({f"ema_model.{n}": t for n, t in ema.items()}),
    ],
    ids=["ema", "nested", "wrapped", "lightning callback", "in the state dict"],
)
def test_averaged_weights_are_a_choice_of_the_user(small_copy: Path, place: Callable[[Any, Any], object]) -> None:
    trained = read(small_copy).head["action_pred.bias"].clone()  # mapped from the file, which is about to change

    def change(content: dict[str, Any]) -> None:
        place(content, {n: t + 1 if n == BIAS else t for n, t in content["model"].items()})

    add_to_policy(small_copy, change)
    as_before, as_trained, averaged = (
        read(small_copy),
        read(small_copy, weights="model"),
        read(small_copy, weights="ema"),
    )
    assert torch.equal(as_before.head["action_pred.bias"], trained)
    assert torch.equal(averaged.head["action_pred.bias"], trained + 1)
    (note,) = as_before.notes
    assert "policy.pt holds averaged weights too" in note and "--weights ema" in note
    assert as_trained.notes == ()
    assert any("are used" in note for note in averaged.notes)


def test_averaged_weights_without_names_are_refused(small_copy: Path) -> None:
    add_to_policy(small_copy, lambda content: content.update(ema={"shadow_params": [torch.ones(2)], "decay": 0.9}))
    assert "ema holds averaged weights as a list without names" in refusal(small_copy)


def test_averaged_weights_of_half_the_policy_are_refused(small_copy: Path) -> None:
    add_to_policy(small_copy, lambda content: content.update(ema={BIAS: torch.zeros(18)}))
    assert read(small_copy).notes
    assert "averaged weights `ema` lack" in refusal(small_copy, weights="ema")


def test_two_averaged_weights_leave_the_choice_to_the_user(small_copy: Path) -> None:
    add_to_policy(small_copy, lambda content: content.update(ema=dict(content["model"]), swa=dict(content["model"])))
    assert "several averaged weights (`ema`, `swa`)" in refusal(small_copy, weights="ema")


def test_averaged_weights_that_are_not_there_are_an_error(small_copy: Path) -> None:
    assert "--weights ema: neither" in refusal(small_copy, weights="ema")


@pytest.mark.parametrize("place", ["unet_ema/" + UNET, "unet/diffusion_pytorch_model.ema.safetensors"])
def test_averaged_weights_of_the_video_model(small_copy: Path, place: str) -> None:
    tensors = load_file(small_copy / "svd" / "unet" / UNET)
    tensors["conv_in.bias"] = tensors["conv_in.bias"] + 1
    path = small_copy / "svd" / place
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path)
    trained, averaged = read(small_copy), read(small_copy, weights="ema")
    assert torch.equal(averaged.unet.tensors["conv_in.bias"], trained.unet.tensors["conv_in.bias"] + 1)
    assert "averaged weights, not used; export with --weights ema" in trained.notes[0]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ema", True),
        ("model_ema", True),
        ("emaModel", True),
        ("unet_ema", True),
        ("swa_state", True),
        ("unet.ema.safetensors", True),
        ("non_ema", False),
        ("diffusion_pytorch_model.non_ema.safetensors", False),
        ("schema", False),
        ("cinema_model", False),
        ("model", False),
    ],
)
def test_names_of_averaged_weights(name: str, meant: bool) -> None:
    assert is_averaged(name) is meant


# --- LoRA and other adapters -----------------------------------------------------------------------------------------

FORMATS: dict[str, tuple[str, dict[str, str], dict[str, Any] | None, float]] = {
    "diffusers": (
        "svd/pytorch_lora_weights",
        {"down": "unet.{}.lora_A.weight", "up": "unet.{}.lora_B.weight"},
        None,
        1,
    ),
    "older diffusers": ("svd/unet/lora", {"down": "{}.lora.down.weight", "up": "{}.lora.up.weight"}, None, 1),
    "peft": (
        "svd/unet/adapter_model",
        {"down": "base_model.model.{}.lora_A.weight", "up": "base_model.model.{}.lora_B.weight"},
        {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "use_rslora": False, "bias": "none"},
        3,
    ),
    "peft with rslora": (
        "svd/lora/adapter_model",
        {"down": "base_model.model.{}.lora_A.default.weight", "up": "base_model.model.{}.lora_B.default.weight"},
        {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "use_rslora": True},
        6 / RANK**0.5,
    ),
}


def write_lora(folder: Path, kind: str, layers: tuple[str, ...] = (QUERY, CONVOLUTION), **config: Any) -> Path:
    name, keys, settings, _ = FORMATS[kind]
    weights = load_file(folder / "svd" / "unet" / UNET)
    tensors = {}
    for layer in layers:
        tensors |= dict(
            zip((keys["down"].format(layer), keys["up"].format(layer)), lora(weights[f"{layer}.weight"]), strict=True)
        )
    path = folder / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path)
    if settings is not None:
        (path.parent / "adapter_config.json").write_text(json.dumps(settings | config))
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_a_lora_beside_the_unet_is_merged_and_said(small_copy: Path, kind: str) -> None:
    before = read(small_copy).unet.tensors
    path = write_lora(small_copy, kind)
    after = read(small_copy)
    for layer in (QUERY, CONVOLUTION):
        down, up = lora(before[f"{layer}.weight"])
        product = (up.flatten(1) @ down.flatten(1)).reshape(down.shape[0] and before[f"{layer}.weight"].shape)
        assert torch.allclose(
            after.unet.tensors[f"{layer}.weight"], before[f"{layer}.weight"] + FORMATS[kind][3] * product
        )
    assert after.notes == (
        f"merged the LoRA {path.parent.name}/{path.name} into unet (2 layers of rank 2); --weights model leaves it out",
    )
    left_out = read(small_copy, weights="model")
    assert torch.equal(left_out.unet.tensors[f"{QUERY}.weight"], before[f"{QUERY}.weight"])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "LOHA"}, "LOHA adapter"),
        ({"use_dora": True}, "use_dora is true"),
        ({"bias": "all"}, 'bias is "all"'),
        ({"modules_to_save": ["conv_in"]}, "modules_to_save"),
        ({"alpha_pattern": {"conv_in": 4}}, "alpha_pattern"),
        ({"r": 4}, "a layer has rank 2"),
        ({"lora_alpha": "much"}, "lora_alpha is 'much', expected a number"),
    ],
)
def test_an_adapter_that_is_no_plain_lora_is_refused(small_copy: Path, config: dict[str, Any], said: str) -> None:
    write_lora(small_copy, "peft", **config)
    message = refusal(small_copy)
    assert said in message and "svd/unet/adapter_" in message
    read(small_copy, weights="model")


def test_a_lora_of_another_model_is_refused(small_copy: Path) -> None:
    path = small_copy / "svd" / "pytorch_lora_weights.safetensors"
    save_file({"unet.mid.lora_A.weight": torch.ones(2, 3), "unet.mid.lora_B.weight": torch.ones(3, 2)}, path)
    assert "holds a LoRA for mid, which this model does not have" in refusal(small_copy)
    save_file({f"{QUERY}.lora_A.weight": torch.ones(2, 3), f"{QUERY}.lora_B.weight": torch.ones(3, 2)}, path)
    assert "Is it of this model?" in refusal(small_copy)
    save_file({f"{QUERY}.lora_A.weight": torch.ones(2, 32)}, path)
    assert "only one of its two factors" in refusal(small_copy)
    save_file({f"{QUERY}.lora_magnitude_vector": torch.ones(32)}, path)
    assert "cannot be merged here" in refusal(small_copy)


def test_an_adapter_as_pickle_is_not_opened(small_copy: Path) -> None:
    (small_copy / "svd" / "pytorch_lora_weights.bin").write_bytes(b"pickle")
    assert "stored as a pickle, which is not opened" in refusal(small_copy)


def test_two_adapters_leave_the_choice_to_the_user(small_copy: Path) -> None:
    write_lora(small_copy, "diffusers")
    write_lora(small_copy, "older diffusers")
    assert "several adapters" in refusal(small_copy)


def test_a_lora_inside_the_policy_is_named(small_copy: Path) -> None:
    name = "model.inner_model.tok_emb.lora_A.weight"
    add_to_policy(small_copy, lambda content: content["model"].update({name: torch.ones(2, 32)}))
    assert "holds a LoRA that was not merged (tok_emb.lora_A.weight)" in refusal(small_copy)


# --- quantized and other files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.int32])
def test_weights_stored_as_integers_are_refused_by_name(small_copy: Path, dtype: torch.dtype) -> None:
    path = small_copy / "svd" / "unet" / UNET
    tensors = load_file(path)
    tensors["conv_in.weight"] = torch.ones_like(tensors["conv_in.weight"]).to(dtype)
    save_file(tensors, path)
    message = refusal(small_copy)
    assert f"{UNET}: conv_in.weight is stored as {str(dtype).removeprefix('torch.')}" in message
    assert "dequantize()" in message


@pytest.mark.parametrize("extra", ["conv_in.SCB", "conv_in.weight.absmax", "conv_in.weight_scale"])
def test_scales_of_quantized_weights_are_recognized(small_copy: Path, extra: str) -> None:
    path = small_copy / "svd" / "unet" / UNET
    save_file(load_file(path) | {extra: torch.ones(4)}, path)
    assert "look quantized" in refusal(small_copy)


@pytest.mark.parametrize("bias", [torch.int32, torch.int8])
def test_a_policy_stored_as_integers_is_refused(small_copy: Path, bias: torch.dtype) -> None:
    add_to_policy(small_copy, lambda content: content["model"].update({BIAS: content["model"][BIAS].to(bias)}))
    assert "is stored as int" in refusal(small_copy)


def test_a_quantized_configuration_is_refused(small_copy: Path) -> None:
    path = small_copy / "svd" / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    assert "saved quantized (bitsandbytes)" in refusal(small_copy)


def test_weight_files_that_are_not_read_are_said(small_copy: Path) -> None:
    folder = small_copy / "svd" / "unet"
    save_file({"a": torch.ones(2)}, folder / "finetuned.safetensors")
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"the same weights as a pickle")
    save_file({"a": torch.ones(2)}, folder / "diffusion_pytorch_model.fp16.safetensors")
    assert read(small_copy).notes == ("svd/unet also holds finetuned.safetensors, which are not read",)


def test_later_training_states_beside_the_model_are_said(small_copy: Path) -> None:
    """As the training scripts of diffusers leave them."""
    for name in ("checkpoint-5000/unet", "checkpoint-9000/unet"):
        shutil.copytree(small_copy / "svd" / "unet", small_copy / "svd" / name)
    note = "svd/ also holds the models checkpoint-5000, checkpoint-9000, which are not read"
    assert read(small_copy).notes == (note,)


def test_the_command_says_what_it_uses(small_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(small_copy), "-o", str(tmp_path / "bundle"), "--weights", "ema"]) == 2
    assert "Leave it out" in capsys.readouterr().err and not (tmp_path / "bundle").exists()


def test_arguments_are_kept_with_averaged_weights(small_copy: Path) -> None:
    add_to_policy(small_copy, lambda content: content.update(ema=dict(content["model"])))
    expected = OmegaConf.to_container(torch.load(small_copy / "policy.pt", weights_only=False)["args"])
    assert load_policy_file(small_copy / "policy.pt", "ema").arguments == expected
