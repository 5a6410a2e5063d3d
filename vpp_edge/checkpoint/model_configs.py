"""Check the configurations of UNet, scheduler and text encoder before anything is built from them.

In: the config.json of a diffusers or transformers model. Out: the same, with every number that decides a size within
its bounds. Without this, a damaged number shows up as an error from deep inside a library, or as an hour of allocation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vpp_edge.checkpoint.bounded import (
    LARGEST_SIZE,
    MOST_BLOCK_LAYERS,
    check_lists,
    check_numbers,
    check_present,
    count_of_sizes,
    shown,
    whole_number,
)
from vpp_edge.checkpoint.config import GOAL_TEXT_LENGTH, MOST_STEPS
from vpp_edge.checkpoint.vaes import latent_factor
from vpp_edge.errors import CheckpointError

_MOST_VOCABULARY = 10_000_000
_MOST_CLIP_LAYERS = 64
_LOWEST_PIXELS = 2  # at one pixel there is nothing to normalize over

# Key -> the highest value of a number, or of every number in its list.
_UNET_NUMBERS = {
    "in_channels": LARGEST_SIZE,
    "out_channels": LARGEST_SIZE,
    "addition_time_embed_dim": LARGEST_SIZE,
    "projection_class_embeddings_input_dim": LARGEST_SIZE,
    "cross_attention_dim": LARGEST_SIZE,
    "num_frames": LARGEST_SIZE,
}
_UNET_LISTS = {
    "block_out_channels": LARGEST_SIZE,
    "layers_per_block": MOST_BLOCK_LAYERS,
    "transformer_layers_per_block": MOST_BLOCK_LAYERS,
    "num_attention_heads": LARGEST_SIZE,
}
_TEXT_NUMBERS = {
    "hidden_size": LARGEST_SIZE,
    "intermediate_size": LARGEST_SIZE,
    "projection_dim": LARGEST_SIZE,
    "num_hidden_layers": _MOST_CLIP_LAYERS,
    "num_attention_heads": LARGEST_SIZE,
    "max_position_embeddings": LARGEST_SIZE,
    "vocab_size": _MOST_VOCABULARY,
}
_UNET_REQUIRED = (
    "sample_size",
    "in_channels",
    "block_out_channels",
    "down_block_types",
    "up_block_types",
    "cross_attention_dim",
)
_TIME_IDS = 3  # frame rate, motion bucket and noise augmentation
_TIME_WIDTHS = {"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 768}  # diffusers' defaults
# Defaults of transformers' CLIP for sizes that a configuration may omit.
_TEXT_DEFAULTS = {
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "max_position_embeddings": GOAL_TEXT_LENGTH,
    "vocab_size": 49408,
}


def check_unet(config: Mapping[str, Any], path: Path) -> None:
    """Raises CheckpointError unless every size of a UNetSpatioTemporalConditionModel's config is usable."""
    check_present(config, path, _UNET_REQUIRED)
    check_numbers(config, path, _UNET_NUMBERS)
    check_lists(config, path, _UNET_LISTS)
    blocks = count_of_sizes(config, path)
    for key in ("down_block_types", "up_block_types"):
        if not isinstance(config[key], list) or len(config[key]) != blocks:
            raise CheckpointError(
                f"{path}: {key} is {shown(config[key])}, expected one name for each of the {blocks} block_out_channels"
            )
    each, together = (config.get(key, default) for key, default in _TIME_WIDTHS.items())
    if together != _TIME_IDS * each:
        raise CheckpointError(
            f"{path}: projection_class_embeddings_input_dim is {together}, expected {_TIME_IDS} times "
            f"addition_time_embed_dim ({each})"
        )


def image_size(unet: Mapping[str, Any], vae: Mapping[str, Any], path: Path) -> int:
    """Side of the square image that the policy sees, in pixels.

    The released feature extractor takes a third of the size that the video model was trained on.

    Args:
        unet, vae: checked configurations; `path`: of the UNet's.

    Raises:
        CheckpointError: `sample_size` is no number, or the UNet cannot halve the image as often as it has blocks.
    """
    factor = latent_factor(vae)
    halvings = len(unet["block_out_channels"]) - 1
    where = f"{path}: sample_size"
    sample = unet["sample_size"]
    if isinstance(sample, list):
        raise CheckpointError(f"{where} is {shown(sample)}, expected one number: VPP's images are square")
    size = whole_number(sample, where, 1, LARGEST_SIZE // factor)
    step = 3 * 2**halvings
    if size % step or size < _LOWEST_PIXELS * step:
        raise CheckpointError(
            f"{where} is {size}, expected a multiple of {step} from {_LOWEST_PIXELS * step}: the policy sees a third "
            f"of it, which the UNet halves {halvings} times"
        )
    return size // 3 * factor


def feature_channels(block_out_channels: Sequence[int], extract_layer: int, all_layers: bool) -> int:
    """Channels of the features: of the up block `extract_layer`, with `all_layers` of those before it too.

    Args:
        block_out_channels: of the UNet, from the latent down.
    """
    first = 0 if all_layers else extract_layer
    return sum(block_out_channels[::-1][first : extract_layer + 1])


def feature_pixels(unet: Mapping[str, Any], latent_side: int, extract_layer: int) -> int:
    """Pixels of the features of one view and frame, which the up block `extract_layer` gives.

    Args:
        unet: checked configuration; `latent_side`: pixels of a side of the latent.
    """
    lowest = latent_side >> (len(unet["down_block_types"]) - 1)
    side: int = lowest << min(extract_layer + 1, len(unet["up_block_types"]) - 1)
    return side * side


def checked_text_config(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration of the text encoder, its defaults filled in; that of a whole CLIP model is accepted too.

    Raises:
        CheckpointError: a size is out of range, or the encoder does not take the 77 tokens of VPP's goal.
    """
    inner = config.get("text_config") if config.get("model_type") == "clip" else config
    if not isinstance(inner, Mapping):
        raise CheckpointError(f"{path}: text_config is {shown(inner)}, expected the text encoder's configuration")
    filled = {"projection_dim": config.get("projection_dim", 512), **_TEXT_DEFAULTS, **inner}
    check_numbers(filled, path, _TEXT_NUMBERS)
    if filled["max_position_embeddings"] < GOAL_TEXT_LENGTH:
        raise CheckpointError(
            f"{path}: max_position_embeddings is {filled['max_position_embeddings']}, expected at least the "
            f"{GOAL_TEXT_LENGTH} tokens of VPP's goal"
        )
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if filled.get(key) is not None:
            whole_number(filled[key], f"{path}: {key}", 0, filled["vocab_size"] - 1)
    return filled


def check_scheduler(config: Mapping[str, Any], path: Path, steps: int) -> None:
    """Raises CheckpointError unless the Euler scheduler gives a usable noise level at the first of `steps` steps."""
    from diffusers import EulerDiscreteScheduler

    trained = whole_number(config.get("num_train_timesteps", MOST_STEPS), f"{path}: num_train_timesteps")
    if steps > trained:
        raise CheckpointError(f"policy.pt: args.model.timestep is {steps}, {path} was trained with {trained} steps")
    try:
        scheduler = EulerDiscreteScheduler.from_config(dict(config))
        scheduler.set_timesteps(steps)
        levels = (float(scheduler.sigmas[0]), float(scheduler.init_noise_sigma), float(scheduler.timesteps[0]))
    except Exception as error:  # whatever the library raises is about this configuration
        raise CheckpointError(f"{path}: cannot build the scheduler from it ({error})") from error
    if not all(math.isfinite(level) for level in levels) or levels[0] <= 0:
        raise CheckpointError(f"{path}: the first noise level is {levels[0]:g}, expected a positive number")
