"""Text-guided video prediction model: frames, text and noise to the features of its first denoising step.

Sources: paper section 3.2 (single-step features), docs/vpp.md, steps 2 and 3. The UNet and VAE are diffusers'.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.checkpoint.config import FPS, MOTION_BUCKET, NOISE_AUGMENTATION, PolicyConfig
from vpp_edge.model.images import image_encoder


class VideoPredictionModel(nn.Module):
    """Image encoder and UNet up to the extracted up block.

    Args:
        unet: diffusers UNetSpatioTemporalConditionModel.
        vae: diffusers AutoencoderKLTemporalDecoder or AutoencoderTiny; only its encoder is used.
        scheduler: diffusers EulerDiscreteScheduler.
        config: block to extract, and whether the blocks before it are concatenated.
    """

    def __init__(self, unet: nn.Module, vae: nn.Module, scheduler: Any, config: PolicyConfig) -> None:
        super().__init__()
        self.unet, self.encoder = unet, image_encoder(vae)
        self.frames = config.former.frames
        self.extract_layer, self.all_layers = config.extract_layer, config.all_layers
        scheduler.set_timesteps(config.video_steps)
        sigma = float(scheduler.sigmas[0])
        self.init_noise_sigma = float(scheduler.init_noise_sigma)
        self.input_scale = 1 / (sigma**2 + 1) ** 0.5  # EulerDiscreteScheduler.scale_model_input
        self.register_buffer("timestep", scheduler.timesteps[:1].clone(), persistent=False)
        time_ids = torch.tensor([[FPS, MOTION_BUCKET, NOISE_AUGMENTATION]], dtype=torch.float32)
        self.register_buffer("time_ids", time_ids, persistent=False)

    def encode_images(self, frames: Tensor) -> Tensor:
        """(V, 4, h, w) float32 latents; gradients reach the encoder's weights.

        Args:
            frames: (V, H, W, 3) uint8 RGB.
        """
        latents: Tensor = self.encoder(frames)
        return latents

    def forward(self, frames: Tensor, text_hidden: Tensor, video_noise: Tensor) -> Tensor:
        """(V, F, C, h', w') features of the first denoising step.

        Args:
            frames: (V, H, W, 3) uint8 RGB.
            text_hidden: (1, 20, 1024), shared by the views.
            video_noise: (V, F, 4, h, w), standard normal. With K frames instead, K a divisor of F, only K
                are computed, and they keep their frame numbers among the F.
        """
        views = frames.shape[0]
        latents = self.encode_images(frames)[:, None].expand(-1, video_noise.shape[1], -1, -1, -1)
        noisy = video_noise * (self.init_noise_sigma * self.input_scale)
        sample = torch.cat([noisy, latents], dim=2)
        with numbered_frames(self.unet, self.frames // video_noise.shape[1]):
            return self.features(sample, text_hidden.expand(views, -1, -1))

    def features(self, sample: Tensor, text_hidden: Tensor) -> Tensor:
        """The UNet's forward pass up to the extracted block, on (V, F, 8, h, w) and (V, 20, 1024)."""
        unet, (views, frames) = self.unet, sample.shape[:2]
        embedding = self.time_embedding(sample.dtype).expand(views * frames, -1)
        text_hidden = text_hidden.repeat_interleave(frames, dim=0)
        image_only = torch.zeros(views, frames, dtype=sample.dtype, device=sample.device)
        arguments = {"temb": embedding, "image_only_indicator": image_only}

        hidden = unet.conv_in(sample.flatten(0, 1))
        residuals = [hidden]
        for block in unet.down_blocks:
            hidden, skipped = block(hidden_states=hidden, **arguments, **self._text(block, text_hidden))
            residuals += skipped
        hidden = unet.mid_block(hidden_states=hidden, **arguments, encoder_hidden_states=text_hidden)
        outputs = []
        for block in unet.up_blocks[: self.extract_layer + 1]:
            skipped, residuals = residuals[-len(block.resnets) :], residuals[: -len(block.resnets)]
            hidden = block(
                hidden_states=hidden,
                res_hidden_states_tuple=tuple(skipped),
                **arguments,
                **self._text(block, text_hidden),
            )
            outputs.append(hidden)
        if self.all_layers:
            size = outputs[-1].shape[-2:]
            hidden = torch.cat([*(functional.interpolate(o, size=size) for o in outputs[:-1]), outputs[-1]], dim=1)
        return hidden.unflatten(0, (views, frames))

    def time_embedding(self, dtype: torch.dtype) -> Tensor:
        """(1, E): the embedding of the first timestep plus that of [fps, motion bucket, noise augmentation]."""
        unet = self.unet
        embedding = unet.time_embedding(unet.time_proj(self.timestep).to(dtype))
        added = unet.add_time_proj(self.time_ids.flatten()).reshape(1, -1)
        return embedding + unet.add_embedding(added.to(dtype))

    @staticmethod
    def _text(block: nn.Module, text_hidden: Tensor) -> dict[str, Tensor]:
        return {"encoder_hidden_states": text_hidden} if getattr(block, "has_cross_attention", False) else {}


@contextmanager
def numbered_frames(unet: nn.Module, stride: int) -> Iterator[None]:
    """Inside this context, the UNet's transformers embed the frame numbers 0, stride, 2 * stride, ..."""
    from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

    transformers = [m for m in unet.modules() if isinstance(m, TransformerSpatioTemporalModel)] if stride > 1 else []
    hooks = [m.time_proj.register_forward_pre_hook(lambda _, given: (given[0] * stride,)) for m in transformers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def video_prediction_model(
    unet_config: dict[str, Any],
    unet_tensors: dict[str, Tensor],
    vae_config: dict[str, Any],
    vae_tensors: dict[str, Tensor],
    scheduler_config: dict[str, Any],
    config: PolicyConfig,
) -> VideoPredictionModel:
    """The video model from diffusers configs and tensors (used in place, not copied)."""
    import diffusers

    def unfilled(model_config: dict[str, Any]) -> nn.Module:
        with torch.device("meta"):
            module: nn.Module = getattr(diffusers, model_config["_class_name"]).from_config(model_config)
        return module.eval()

    unet, vae = unfilled(unet_config), unfilled(vae_config)
    del vae.decoder  # not used, and a checkpoint need not have it
    unet.load_state_dict(unet_tensors, assign=True)
    encoder = {name: tensor for name, tensor in vae_tensors.items() if not name.startswith("decoder.")}
    vae.load_state_dict(encoder, assign=True)
    return VideoPredictionModel(unet, vae, diffusers.EulerDiscreteScheduler.from_config(scheduler_config), config)
