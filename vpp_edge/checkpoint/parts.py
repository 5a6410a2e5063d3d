"""Read the networks below the policy: in, two folders; out, the checked configurations and weights of three models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vpp_edge.checkpoint.averaged import is_averaged
from vpp_edge.checkpoint.bounded import whole_number
from vpp_edge.checkpoint.files import read_json, refuse_partial_downloads
from vpp_edge.checkpoint.foreign_models import foreign_model
from vpp_edge.checkpoint.model_configs import check_unet, checked_text_config
from vpp_edge.checkpoint.part_weights import PartWeights, read_part_weights
from vpp_edge.checkpoint.vaes import VAES, check_vae_entry, checked_vae_config
from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.errors import CheckpointError
from vpp_edge.files.paths import is_left_behind

DIFFUSERS_STEM, TRANSFORMERS_STEM = "diffusion_pytorch_model", "model"
# Folders of a StableVideoDiffusionPipeline; any other one in it may hold a LoRA.
_PIPELINE_FOLDERS = ("unet", "vae", "image_encoder", "scheduler", "feature_extractor", "text_encoder", "tokenizer")
# The other half of a complete CLIP model, which is accepted too.
_OTHER_HALF = ("vision_model.", "visual_projection.", "logit_scale")


@dataclass(frozen=True)
class ModelPart:
    """A diffusers or transformers model: its config.json and its float32 tensors by name."""

    config: dict[str, Any]
    tensors: Tensors


@dataclass(frozen=True)
class PartConfigs:
    """The checked configurations of UNet, VAE, scheduler and text encoder."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    scheduler: dict[str, Any]
    text: dict[str, Any]


def scheduler_path(video_model: Path) -> Path:
    """The scheduler's configuration in a video model."""
    return video_model / "scheduler" / "scheduler_config.json"


def read_configs(video_model: Path, text_encoder: Path) -> PartConfigs:
    """The configurations, checked, before any weight is read.

    Raises:
        CheckpointError: a file is missing or damaged, is of another model, or has a size out of range.
    """
    for folder in (video_model, text_encoder):
        refuse_partial_downloads(folder)
    index_path, vae_path = video_model / "model_index.json", video_model / "vae" / "config.json"
    index = _read_config(index_path, "StableVideoDiffusionPipeline")
    unet = _read_config(video_model / "unet" / "config.json", "UNetSpatioTemporalConditionModel", check=check_unet)
    vae = _read_config(vae_path, *VAES)
    check_vae_entry(index, index_path, vae["_class_name"])
    return PartConfigs(
        unet=unet,
        vae=checked_vae_config(vae, vae_path),
        scheduler=_read_config(scheduler_path(video_model), "EulerDiscreteScheduler"),
        text=_read_text_config(text_encoder / "config.json"),
    )


def read_video_weights(video_model: Path, policy: Path, weights: str | None) -> tuple[PartWeights, PartWeights]:
    """The weights of UNet and VAE (see `read_part_weights`); a LoRA may lie in `video_model` or beside `policy`."""
    extra = sorted(
        child
        for child in video_model.iterdir()
        if child.is_dir()
        and child.name not in _PIPELINE_FOLDERS
        and not is_left_behind(Path(child.name))
        and not is_averaged(child.name)
    )
    unet = read_part_weights(
        video_model / "unet",
        DIFFUSERS_STEM,
        anchors=("conv_in.weight",),
        weights=weights,
        beside=(video_model, *extra, policy.parent),
    )
    models = [child.name for child in extra if any(child.glob("*/config.json")) or (child / "config.json").exists()]
    if models and weights != "model":
        note = f"{video_model.name}/ also holds the models {', '.join(models)}, which are not read"
        unet = replace(unet, notes=(*unet.notes, note))
    anchors = tuple(vae.anchor for vae in VAES.values())
    return unet, read_part_weights(video_model / "vae", DIFFUSERS_STEM, anchors=anchors, weights=weights)


def read_text_weights(folder: Path, weights: str | None) -> PartWeights:
    """The weights of the text encoder; see `read_part_weights`."""
    read = read_part_weights(
        folder, TRANSFORMERS_STEM, anchors=("text_model.embeddings.token_embedding.weight",), weights=weights
    )
    tensors = {
        n: t for n, t in read.tensors.items() if not n.startswith(_OTHER_HALF) and not n.endswith("position_ids")
    }
    return PartWeights(tensors, read.averaged, read.notes)


def pad_token_id(folder: Path, vocabulary_size: int) -> int:
    """Id of the tokenizer's pad token, from its files; CLIP pads with its end-of-text token.

    Raises:
        CheckpointError: the files do not give it, or an id is beyond the text encoder's vocabulary.
    """
    config = read_json(folder / "tokenizer_config.json", "the tokenizer's configuration")
    path = folder / "tokenizer.json"
    path = path if path.exists() else folder / "vocab.json"
    tokenizer = read_json(path, "the tokenizer's vocabulary")
    try:
        pad = config.get("pad_token", "<|endoftext|>")
        pad = pad["content"] if isinstance(pad, dict) else pad
        added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
        vocabulary = tokenizer["model"]["vocab"] | added if path.name == "tokenizer.json" else tokenizer
        found, highest = vocabulary[pad], max(vocabulary.values())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{folder}: the tokenizer's files do not give the id of its pad token ({error})"
        ) from error
    whole_number(highest, f"{path}: the highest token id", 0, vocabulary_size - 1)
    return whole_number(found, f"{path}: the id of the pad token", 0, vocabulary_size - 1)


def _read_config(
    path: Path, *classes: str, check: Callable[[Mapping[str, Any], Path], None] | None = None
) -> dict[str, Any]:
    expected = " or ".join(classes)
    config = read_json(path, f"the configuration of a diffusers {expected}")
    found = config.get("_class_name")
    if found not in classes:
        hint = foreign_model(found) or "Is this VPP's video model?"
        raise CheckpointError(f"{path}: holds a {found}, expected a {expected}. {hint}")
    _refuse_quantization(config, path)
    if check is not None:
        check(config, path)
    return config


def _read_text_config(path: Path) -> dict[str, Any]:
    config = read_json(path, "the configuration of a transformers CLIP text encoder")
    found = config.get("model_type")
    if found not in ("clip_text_model", "clip"):
        raise CheckpointError(
            f"{path}: holds a {found} model, expected the CLIP text encoder that the video model was trained with "
            f"(openai/clip-vit-base-patch32). {foreign_model(found)}".rstrip()
        )
    _refuse_quantization(config, path)
    return checked_text_config(config, path)


def _refuse_quantization(config: Mapping[str, Any], path: Path) -> None:
    method = config.get("quantization_config")
    if method:
        name = method.get("quant_method", "unknown") if isinstance(method, dict) else "unknown"
        raise CheckpointError(
            f"{path}: the model was saved quantized ({name}). Export starts from the trained weights: load it where it "
            "was quantized, call `dequantize()` and save it again, or pass the checkpoint from before."
        )
