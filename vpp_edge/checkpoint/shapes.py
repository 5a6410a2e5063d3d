"""Expected names and shapes of the diffusers and transformers networks, from their config.json on the meta device."""

from __future__ import annotations

from typing import Any

import torch

from vpp_edge.errors import CheckpointError

Shapes = dict[str, tuple[int, ...]]


def unet_shapes(config: dict[str, Any]) -> Shapes:
    """Tensors of a diffusers UNetSpatioTemporalConditionModel."""
    from diffusers import UNetSpatioTemporalConditionModel

    return _shapes(lambda: UNetSpatioTemporalConditionModel.from_config(config), "svd/unet/config.json")


def vae_shapes(config: dict[str, Any]) -> Shapes:
    """Tensors of one of the diffusers classes in `vaes`."""
    import diffusers

    kind = getattr(diffusers, config["_class_name"])
    return _shapes(lambda: kind.from_config(config), "svd/vae/config.json")


def text_shapes(config: dict[str, Any]) -> Shapes:
    """Tensors of a transformers CLIPTextModelWithProjection."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return _shapes(lambda: CLIPTextModelWithProjection(CLIPTextConfig(**config)), "clip/config.json")


def _shapes(build: Any, path: str) -> Shapes:
    try:
        with torch.device("meta"):
            module = build()
    except Exception as error:  # whatever the libraries raise is about this configuration
        raise CheckpointError(f"{path}: cannot build the model from it ({error})") from error
    return {name: tuple(t.shape) for name, t in module.state_dict().items() if not name.endswith("position_ids")}
