"""Read a whole trained policy from the paths of its three parts: checked weights, sizes and spec.

Everything is checked before anything is used: file by file (half downloads, LFS pointers, wrong model types), then
every tensor of every part against the sizes, with all problems reported in one error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.checkpoint.choices import Choices, chosen_config
from vpp_edge.checkpoint.config import PolicyConfig, policy_config
from vpp_edge.checkpoint.files import CheckpointPaths, read_json, refuse_partial_downloads
from vpp_edge.checkpoint.policy_bounds import policy_bounds
from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.checkpoint.policy_spec import policy_spec_from_config, variant_from_arguments
from vpp_edge.checkpoint.weights import load_tensors, tensor_problems
from vpp_edge.errors import CheckpointError
from vpp_edge.spec.policy import PolicySpec

__all__ = ["Checkpoint", "Choices", "ModelPart", "read_checkpoint"]

_AS_TRAINED = Choices()
_MOST_PROBLEMS_SHOWN = 40
# Relative difference up to which a copy of the text encoder counts as the same weights (fp16 rounding is 5e-4).
_SAME_WEIGHTS = 1e-3
# Keys that are read from the configurations of the video model.
_UNET_SIZES = (
    "sample_size",
    "in_channels",
    "block_out_channels",
    "down_block_types",
    "up_block_types",
    "cross_attention_dim",
)
_VAE_SIZES = ("block_out_channels", "latent_channels")
# Defaults of transformers' CLIP for sizes that a configuration may omit.
_TEXT_DEFAULTS = {"hidden_size": 512, "num_hidden_layers": 12}

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ModelPart:
    """A diffusers or transformers model: its config.json and its float32 tensors by name."""

    config: dict[str, Any]
    tensors: Tensors


@dataclass(frozen=True)
class Checkpoint:
    """A trained policy in memory.

    Attributes:
        paths: where it was read from.
        config: sizes and settings that the modules are built from.
        trained: the same before the user's choices were applied.
        spec: what the runtime must know.
        unet, vae, text: the networks below the policy; `scheduler` is the Euler scheduler's config.
        former, head: tensors of policy.pt without their prefix.
        notes: unusual findings that are not errors, one sentence each.
    """

    paths: CheckpointPaths
    config: PolicyConfig
    trained: PolicyConfig
    spec: PolicySpec
    unet: ModelPart
    vae: ModelPart
    text: ModelPart
    scheduler: dict[str, Any]
    former: Tensors
    head: Tensors
    notes: tuple[str, ...]


def read_checkpoint(paths: CheckpointPaths, choices: Choices = _AS_TRAINED) -> Checkpoint:
    """Reads and checks a trained policy. Needs as much memory as its float32 weights.

    Raises:
        CheckpointError: anything is unsafe, missing, extra, misshapen, damaged or of another model.
    """
    policy_tensors, values = load_policy_file(paths.policy)
    scheduler = _check_video_model(paths.video_model)
    text_config = _text_config(paths.text_encoder)
    arguments = Arguments(values)
    shapes = {name: tuple(t.shape) for name, t in policy_tensors.items()}
    actions = shapes.get(f"{names.HEAD_PREFIX}action_pred.bias", (0,))[0]
    variant = choices.variant or variant_from_arguments(arguments, actions)
    trained = policy_config(arguments, shapes, variant, text_config["projection_dim"])
    config = chosen_config(trained, choices)
    bounds = policy_bounds(
        arguments, variant, actions=config.head.actions, proprio=config.head.proprio, raw=choices.raw_actions
    )

    unet = _read_part(paths.video_model / "unet", "UNetSpatioTemporalConditionModel", _UNET_SIZES)
    vae = _read_part(paths.video_model / "vae", "AutoencoderKLTemporalDecoder", _VAE_SIZES)
    text = ModelPart(text_config, _text_tensors(paths.text_encoder))
    former, head, extra = _split(policy_tensors)
    problems = _problems(config, unet=unet, vae=vae, text=text, former=former, head=head, extra=extra) + _disagreements(
        config, unet, vae, text
    )
    if problems:
        shown = problems[:_MOST_PROBLEMS_SHOWN]
        more = f"\n  ... and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
        raise CheckpointError(
            f"checkpoint does not hold a VPP policy: {len(problems)} problems\n  " + "\n  ".join(shown) + more
        )

    notes = (*_text_copy_notes(extra, text), *bounds.notes)
    scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
    image_size = unet.config["sample_size"] * scale // 3  # as the released feature extractor does
    latent = image_size // scale
    feature = (latent >> (len(unet.config["down_block_types"]) - 1)) << min(
        config.extract_layer + 1, len(unet.config["up_block_types"]) - 1
    )
    spec = policy_spec_from_config(
        config,
        variant,
        cameras=choices.cameras,
        action_rate_hz=choices.action_rate_hz,
        bounds=bounds,
        quaternion_order=choices.quaternion_order,
        image_size=image_size,
        latent=(vae.config["latent_channels"], latent, latent),
        feature_pixels=feature * feature,
        pad_token_id=_pad_token_id(paths.text_encoder),
        notes=notes,
    )
    head = {n: t.float() for n, t in head.items() if n not in names.UNUSED}
    return Checkpoint(
        paths=paths,
        config=config,
        trained=trained,
        spec=spec,
        unet=unet,
        vae=vae,
        text=text,
        scheduler=scheduler,
        former={n: t.float() for n, t in former.items()},
        head=head,
        notes=notes,
    )


def _check_video_model(folder: Path) -> dict[str, Any]:
    refuse_partial_downloads(folder)
    _check_class(folder / "model_index.json", "StableVideoDiffusionPipeline")
    return _check_class(folder / "scheduler" / "scheduler_config.json", "EulerDiscreteScheduler")


def _check_class(path: Path, expected: str) -> dict[str, Any]:
    config = read_json(path, f"the configuration of a diffusers {expected}")
    if config.get("_class_name") != expected:
        raise CheckpointError(
            f"{path}: holds a {config.get('_class_name')}, expected a {expected}. Is this VPP's video model?"
        )
    return config


def _read_part(folder: Path, class_name: str, sizes: Sequence[str]) -> ModelPart:
    path = folder / "config.json"
    config = _check_class(path, class_name)
    missing = [key for key in sizes if key not in config]
    if missing:
        raise CheckpointError(f"{path}: misses {', '.join(missing)}. Download or copy it again.")
    return ModelPart(config, load_tensors(folder, "diffusion_pytorch_model"))


def _text_config(folder: Path) -> dict[str, Any]:
    refuse_partial_downloads(folder)
    config = read_json(folder / "config.json", "the configuration of a transformers CLIP text encoder")
    if config.get("model_type") not in ("clip_text_model", "clip"):
        raise CheckpointError(
            f"{folder / 'config.json'}: holds a {config.get('model_type')} model, expected the CLIP text encoder "
            "that the video model was trained with (openai/clip-vit-base-patch32)."
        )
    inner = config.get("text_config") if config["model_type"] == "clip" else config
    inner = _TEXT_DEFAULTS | (inner or {})
    inner.setdefault("projection_dim", config.get("projection_dim", 512))
    return inner


def _text_tensors(folder: Path) -> Tensors:
    tensors = load_tensors(folder, "model")
    other_half = (
        "vision_model.",
        "visual_projection.",
        "logit_scale",
    )  # of a complete CLIP model, which is accepted too
    return {n: t for n, t in tensors.items() if not n.startswith(other_half) and not n.endswith("position_ids")}


def _pad_token_id(folder: Path) -> int:
    """Id of the tokenizer's pad token, from its files; CLIP pads with its end-of-text token."""
    config = read_json(folder / "tokenizer_config.json", "the tokenizer's configuration")
    path = folder / "tokenizer.json"
    tokenizer = read_json(path if path.exists() else folder / "vocab.json", "the tokenizer's vocabulary")
    try:
        pad = config.get("pad_token", "<|endoftext|>")
        pad = pad["content"] if isinstance(pad, dict) else pad
        added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
        vocabulary = tokenizer["model"]["vocab"] | added if path.exists() else tokenizer
        return int(vocabulary[pad])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: the tokenizer's files do not give the id of its pad token ({error})"
        ) from error


def _split(tensors: Tensors) -> tuple[Tensors, Tensors, Tensors]:
    groups: tuple[Tensors, Tensors, Tensors] = ({}, {}, {})
    for name, tensor in tensors.items():
        if name.startswith(names.FORMER_PREFIX):
            groups[0][name[len(names.FORMER_PREFIX) :]] = tensor
        elif name.startswith(names.HEAD_PREFIX):
            groups[1][name[len(names.HEAD_PREFIX) :]] = tensor
        else:
            groups[2][name] = tensor
    return groups


def _problems(
    config: PolicyConfig,
    unet: ModelPart,
    vae: ModelPart,
    text: ModelPart,
    former: Tensors,
    head: Tensors,
    extra: Tensors,
) -> list[str]:
    from vpp_edge.checkpoint.shapes import text_shapes, unet_shapes, vae_shapes

    lines = tensor_problems("svd/unet", unet.tensors, unet_shapes(unet.config))
    lines += tensor_problems("svd/vae", vae.tensors, vae_shapes(vae.config))
    lines += tensor_problems("clip", text.tensors, text_shapes(text.config))
    lines += tensor_problems("policy.pt Video_Former", former, names.former_tensors(config.former))
    lines += tensor_problems("policy.pt action head", head, names.head_tensors(config.head), frozenset(names.UNUSED))
    known = (*names.TEXT_COPY_PREFIXES, names.OPENAI_CLIP_PREFIX)
    return lines + [f"policy.pt: extra {n} {tuple(t.shape)}" for n, t in extra.items() if not n.startswith(known)]


def _disagreements(config: PolicyConfig, unet: ModelPart, vae: ModelPart, text: ModelPart) -> list[str]:
    lines = []
    blocks = list(reversed(unet.config["block_out_channels"]))
    if not 0 <= config.extract_layer < len(blocks):
        return [f"policy.pt: extract_layer_idx {config.extract_layer} is not an up block; the UNet has {len(blocks)}"]
    used = (
        blocks[: config.extract_layer + 1]
        if config.all_layers
        else blocks[config.extract_layer : config.extract_layer + 1]
    )
    if config.former.channels != sum(used):
        kind = "all up blocks to" if config.all_layers else "up block"
        lines.append(
            f"Video Former takes {config.former.channels} channels, {kind} {config.extract_layer} gives {sum(used)}"
        )
    if unet.config["cross_attention_dim"] != 2 * text.config["hidden_size"]:
        lines.append(
            f"svd/unet attends to text of width {unet.config['cross_attention_dim']}, "
            f"clip/ gives twice {text.config['hidden_size']}"
        )
    if unet.config["in_channels"] != 2 * vae.config["latent_channels"]:
        lines.append(
            f"svd/unet takes {unet.config['in_channels']} channels, "
            f"expected twice the {vae.config['latent_channels']} of svd/vae"
        )
    return lines


def _text_copy_notes(extra: Tensors, text: ModelPart) -> list[str]:
    """One sentence for every copy of the text encoder in policy.pt that differs from clip/."""
    notes = []
    for prefix in names.TEXT_COPY_PREFIXES:
        copies = {n[len(prefix) :]: t for n, t in extra.items() if n.startswith(prefix)}
        notes += _difference_note(prefix, {n: (t, text.tensors[n]) for n, t in copies.items() if n in text.tensors})
    pairs = {}
    for name, sources in names.openai_clip_text_names(text.config["num_hidden_layers"]).items():
        copy = extra.get(names.OPENAI_CLIP_PREFIX + name)
        if copy is not None:
            ours = torch.cat([text.tensors[s] for s in sources])
            pairs[name] = (copy, ours.T if name == "text_projection" else ours)
    return notes + _difference_note(names.OPENAI_CLIP_PREFIX, pairs)


def _difference_note(prefix: str, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> list[str]:
    worst, where = 0.0, ""
    for name, (copy, ours) in pairs.items():
        same_shape = copy.shape == ours.shape
        scale = float(ours.abs().max()) or 1.0
        difference = float((copy.float() - ours).abs().max()) / scale if same_shape else float("inf")
        if not difference <= worst:
            worst, where = difference, name
    if worst <= _SAME_WEIGHTS:
        return []
    return [
        f"the text encoder in policy.pt ({prefix}*) differs from clip/ (by {worst:.3g} of the largest weight of "
        f"{where}): clip/ is used; pass the text encoder that the policy was trained with"
    ]
