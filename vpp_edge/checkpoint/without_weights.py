"""A policy of given sizes as read from a checkpoint, without its weights: for what depends on sizes only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from vpp_edge.checkpoint.config import PolicyConfig, SamplerConfig
from vpp_edge.checkpoint.model_configs import checked_text_config, feature_pixels
from vpp_edge.checkpoint.parts import ModelPart
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.policy_bounds import PolicyBounds
from vpp_edge.checkpoint.policy_spec import policy_spec_from_config
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.checkpoint.untrained import (
    UntrainedSizes,
    byte_pairs,
    configs_of,
    quiet_libraries,
    text_config,
    video_networks,
    video_scheduler,
)
from vpp_edge.checkpoint.vaes import latent_factor

_NOWHERE = Path("untrained")


def checkpoint_without_weights(sizes: UntrainedSizes, variant: str = "xhand") -> Checkpoint:
    """What `read_checkpoint` gives of `write_untrained_checkpoint`, without tensors and without bounds."""
    with quiet_libraries():
        with torch.device("meta"):
            unet, vae = (_config(network) for network in video_networks(sizes))
        scheduler = _config(video_scheduler())
        vocabulary, _ = byte_pairs(sizes.corpus)
        text = checked_text_config(text_config(sizes, vocabulary).to_dict(), _NOWHERE)
    former, head = configs_of(sizes)
    config = PolicyConfig(
        former=former,
        head=head,
        sampler=SamplerConfig(name="ddim", steps=sizes.steps, sigma_min=0.001, sigma_max=80),
        extract_layer=1,
        all_layers=sizes.all_layers,
        video_steps=20,
        text_length=20,
        position_encoding=True,
        computed_frames=former.frames,
    )
    side = sizes.image // latent_factor(vae)
    spec = policy_spec_from_config(
        config,
        variant,
        cameras=None,
        action_rate_hz=None,
        bounds=PolicyBounds(state=None, action=None, raw=False, notes=()),
        quaternion_order="xyzw",
        image_size=sizes.image,
        latent=(vae["latent_channels"], side, side),
        feature_pixels=feature_pixels(unet, side, config.extract_layer),
        pad_token_id=text["pad_token_id"],
        notes=(),
    )
    return Checkpoint(
        paths=CheckpointPaths(policy=_NOWHERE, video_model=_NOWHERE, text_encoder=_NOWHERE),
        config=config,
        trained=config,
        spec=spec,
        unet=ModelPart(unet, {}),
        vae=ModelPart(vae, {}),
        text=ModelPart(text, {}),
        scheduler=scheduler,
        former={},
        head={},
        notes=(),
    )


def _config(model: Any) -> dict[str, Any]:
    """What is in the config.json of a diffusers model."""
    config: dict[str, Any] = json.loads(model.to_json_string())
    return config
