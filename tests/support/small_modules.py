"""A video model and Video Formers of every variant, small and with random weights, on odd image sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from diffusers import (
    AutoencoderKLTemporalDecoder,
    AutoencoderTiny,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from torch import nn

from vpp_edge.model.former import LinearFormer, VideoFormer
from vpp_edge.model.tvp import VideoPredictionModel

FRAMES = 3


def random(module: nn.Module) -> nn.Module:
    for name, parameter in module.named_parameters():
        parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
    return module.eval()


def kl_vae() -> AutoencoderKLTemporalDecoder:
    return AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"), layers_per_block=1
    )


def tiny_vae(act_fn: str = "relu") -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16), num_encoder_blocks=(1, 2), decoder_block_out_channels=(8, 8),
        num_decoder_blocks=(1, 1), act_fn=act_fn,
    )  # fmt: skip


def video_model(extract_layer: int, all_layers: bool, vae: nn.Module | None = None) -> VideoPredictionModel:
    unet = UNetSpatioTemporalConditionModel(
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal",
                          "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 64, 64), num_attention_heads=(1, 2, 2), layers_per_block=1, cross_attention_dim=24,
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=24,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True, sigma_max=700.0)
    config: Any = SimpleNamespace(
        former=SimpleNamespace(frames=FRAMES), extract_layer=extract_layer, all_layers=all_layers, video_steps=20
    )
    return VideoPredictionModel(random(unet), random(vae or kl_vae()), scheduler, config).eval()


def former_of(kind: str, channels: int, hidden: int) -> nn.Module:
    config: Any = SimpleNamespace(
        kind=kind, channels=channels, width=32, frames=FRAMES, hidden=hidden, depth=2, heads=2, head_width=16,
        feed_forward=48, queries_per_frame=5, time_embeddings=FRAMES,
    )  # fmt: skip
    return random(LinearFormer(config) if kind == "linear" else VideoFormer(config))


# kind, extracted layer, whether all layers are read, hidden width. A Linear of 8 is composed with the convolution
# before it, one of 96 is not: that would cost more.
VARIANTS = (
    ("3d", 1, False, 8),
    ("3d", 1, True, 96),
    ("2d", 0, False, 96),
    ("2d", 1, True, 8),
    ("linear", 1, False, 0),
    ("linear", 2, True, 0),
)


def channels_of(extract_layer: int, all_layers: bool) -> int:
    """Width of the features that a Video Former reads."""
    widths = (64, 64, 32)[: extract_layer + 1]
    return sum(widths) if all_layers else widths[-1]
