"""Check the parts of a policy against each other: in, sizes and tensors; out, problems and notes, one sentence each."""

from __future__ import annotations

import re

import torch

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.config import PolicyConfig
from vpp_edge.checkpoint.lora import LORA_NAME
from vpp_edge.checkpoint.model_configs import feature_channels
from vpp_edge.checkpoint.parts import ModelPart
from vpp_edge.checkpoint.shapes import text_shapes, unet_shapes, vae_shapes
from vpp_edge.checkpoint.weights import Tensors, tensor_problems

# Relative difference up to which a copy of the text encoder counts as the same weights (fp16 rounding is 5e-4).
_SAME_WEIGHTS = 1e-3


def tensor_faults(
    config: PolicyConfig,
    *,
    unet: ModelPart,
    vae: ModelPart,
    text: ModelPart,
    former: Tensors,
    head: Tensors,
    extra: Tensors,
) -> list[str]:
    """Every missing, extra and misshapen tensor of the five networks."""
    lines = tensor_problems("svd/unet", unet.tensors, unet_shapes(unet.config))
    expected = vae_shapes(vae.config)
    decoder = frozenset(name for name in expected if name.startswith("decoder."))  # which a student may leave out
    lines += tensor_problems("svd/vae", vae.tensors, expected, decoder)
    lines += tensor_problems("clip", text.tensors, text_shapes(text.config))
    lines += tensor_problems("policy.pt Video_Former", former, names.former_tensors(config.former))
    lines += tensor_problems("policy.pt action head", head, names.head_tensors(config.head), frozenset(names.UNUSED))
    known = (*names.TEXT_COPY_PREFIXES, names.OPENAI_CLIP_PREFIX)
    lines += [f"policy.pt: extra {n} {tuple(t.shape)}" for n, t in extra.items() if not n.startswith(known)]
    unmerged = [n for n in (*former, *head, *extra) if LORA_NAME.search(re.sub(r".*\.(?=lora)", "", n))]
    if unmerged:
        lines.insert(0, f"policy.pt: holds a LoRA that was not merged ({unmerged[0]}): save `merge_and_unload()` of it")
    return lines


def disagreements(config: PolicyConfig, unet: ModelPart, vae: ModelPart, text: ModelPart) -> list[str]:
    """Where the sizes of two parts do not fit together."""
    lines = []
    blocks = unet.config["block_out_channels"]
    if config.extract_layer >= len(blocks):
        return [f"policy.pt: extract_layer_idx {config.extract_layer} is not an up block; the UNet has {len(blocks)}"]
    given = feature_channels(blocks, config.extract_layer, config.all_layers)
    if config.former.channels != given:
        kind = "all up blocks to" if config.all_layers else "up block"
        lines.append(
            f"Video Former takes {config.former.channels} channels, {kind} {config.extract_layer} gives {given}"
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


def text_copy_notes(extra: Tensors, text: ModelPart) -> list[str]:
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
