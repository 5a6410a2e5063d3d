"""The classes of diffusers that a policy's image encoder may have: what each is called, checked for and made of.

Stable Video Diffusion's own is an AutoencoderKLTemporalDecoder. A student may have an AutoencoderTiny, the architecture
of TAESD: convolutions and ReLU, without norms, attention or a distribution of latents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
)
from vpp_edge.errors import CheckpointError

_COLORS = 3
_NUMBERS = dict.fromkeys(("in_channels", "out_channels", "latent_channels"), LARGEST_SIZE)
_WIDTHS, _BLOCKS = "encoder_block_out_channels", "num_encoder_blocks"
_TINY_WIDTHS = dict.fromkeys((_WIDTHS, "decoder_block_out_channels"), LARGEST_SIZE)
_TINY_BLOCKS = dict.fromkeys((_BLOCKS, "num_decoder_blocks"), MOST_BLOCK_LAYERS)


@dataclass(frozen=True)
class VaeClass:
    """One class of diffusers that encodes images.

    Attributes:
        sizes: key of its configuration with one entry for every size of images.
        anchor: a tensor that it must have.
        check: raises CheckpointError for a configuration, and the path to name, of no usable size.
    """

    sizes: str
    anchor: str
    check: Callable[[Mapping[str, Any], Path], None]


def checked_vae_config(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration of one of the VAES, as diffusers builds it without a warning.

    Raises:
        CheckpointError: a size is out of range, or the VAE does not take RGB images.
    """
    VAES[config["_class_name"]].check(config, path)
    colors = config.get("in_channels", _COLORS)
    if colors != _COLORS:
        raise CheckpointError(f"{path}: in_channels is {shown(colors)}, expected {_COLORS}: the policy sees RGB images")
    # A repetition of the decoder's widths that diffusers writes, and wonders at when it reads it.
    repeated = "block_out_channels" if config["_class_name"] == "AutoencoderTiny" else ""
    return {key: value for key, value in config.items() if key != repeated}


def check_vae_entry(index: Mapping[str, Any], path: Path, class_name: str) -> None:
    """Raises CheckpointError where a video model's `model_index.json` names another class of VAE than its folder holds.

    diffusers builds what the index names, whatever the folder holds.
    """
    entry = index.get("vae", class_name)
    named = entry[-1] if isinstance(entry, list) and entry else entry
    if named != class_name:
        raise CheckpointError(
            f"{path}: names {shown(named)} as vae, vae/config.json holds {class_name}. If that is meant, write "
            f'"vae": ["diffusers", "{class_name}"].'
        )


def latent_factor(config: Mapping[str, Any]) -> int:
    """Pixels of an image per pixel of its latent, along each side: every size halves the one before.

    Args:
        config: checked.
    """
    return int(2 ** (len(config[VAES[config["_class_name"]].sizes]) - 1))


def _check_kl(config: Mapping[str, Any], path: Path) -> None:
    check_present(config, path, ("block_out_channels", "latent_channels"))
    check_numbers(config, path, _NUMBERS | {"layers_per_block": MOST_BLOCK_LAYERS})
    check_lists(config, path, {"block_out_channels": LARGEST_SIZE})
    blocks = count_of_sizes(config, path)
    types = config.get("down_block_types", [""])
    if not isinstance(types, list) or len(types) != blocks:
        raise CheckpointError(
            f"{path}: down_block_types is {shown(types)}, expected one name for each of the {blocks} block_out_channels"
        )


def _check_tiny(config: Mapping[str, Any], path: Path) -> None:
    check_present(config, path, (_WIDTHS, _BLOCKS, "latent_channels"))
    check_numbers(config, path, _NUMBERS)
    check_lists(config, path, _TINY_WIDTHS)
    check_lists(config, path, _TINY_BLOCKS, lowest=0)  # a size without blocks only halves the image
    sizes = {key: count_of_sizes(config, path, key) for key in (*_TINY_WIDTHS, *_TINY_BLOCKS) if key in config}
    if sizes[_BLOCKS] != sizes[_WIDTHS]:
        raise CheckpointError(
            f"{path}: {_BLOCKS} is {shown(config[_BLOCKS])}, expected one number for each of the "
            f"{sizes[_WIDTHS]} {_WIDTHS}"
        )
    # Its convolutions of stride 2 have as many inputs as outputs.
    if len(set(config[_WIDTHS])) > 1:
        raise CheckpointError(
            f"{path}: {_WIDTHS} is {shown(config[_WIDTHS])}, expected the same width for every size, "
            "which diffusers' AutoencoderTiny needs"
        )


VAES = {
    "AutoencoderKLTemporalDecoder": VaeClass(
        sizes="block_out_channels", anchor="encoder.conv_in.weight", check=_check_kl
    ),
    "AutoencoderTiny": VaeClass(sizes=_WIDTHS, anchor="encoder.layers.0.weight", check=_check_tiny),
}
