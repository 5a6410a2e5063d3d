"""The student's video model at its start: in, a checkpoint and a specification; out, configurations and tensors.

It computes what the teacher computes as far as its sizes allow: frames keep their place in time, and the embedding of
the noise level, a constant in a policy, is the teacher's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vpp_edge.checkpoint.config import PolicyConfig
from vpp_edge.checkpoint.parts import ModelPart
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.checkpoint.shapes import unet_shapes, vae_shapes
from vpp_edge.checkpoint.vaes import latent_factor
from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.slicing import encoder_from_teacher, evenly, unet_from_teacher, unet_sizes
from vpp_edge.export.distill.student_spec import CHANNEL_STEP, FULL, KL, TINY, StudentSpec
from vpp_edge.model.policy import video_model_from_checkpoint
from vpp_edge.model.tvp import VideoPredictionModel, video_prediction_model
from vpp_edge.wording import counted

_KL = "AutoencoderKLTemporalDecoder"
_KEPT = ("in_channels", "out_channels", "latent_channels")
_UNUSED_IN_VAE = "decoder."


@dataclass(frozen=True)
class StudentStart:
    """What a student's video model starts with.

    Attributes:
        unet, vae: configuration and tensors of its networks.
        config: sizes of the policy with this video model; its Video Former still reads the teacher's features.
        stride: the student's frames are the teacher's 0, stride, 2 * stride, ...
    """

    unet: ModelPart
    vae: ModelPart
    config: PolicyConfig
    stride: int

    def video_model(self, scheduler: dict[str, Any]) -> VideoPredictionModel:
        """The module, on these tensors."""
        return video_prediction_model(
            self.unet.config,
            unet_tensors=self.unet.tensors,
            vae_config=self.vae.config,
            vae_tensors=self.vae.tensors,
            scheduler_config=scheduler,
            config=self.config,
        )


def student_configs(teacher: Checkpoint, spec: StudentSpec) -> tuple[dict[str, Any], dict[str, Any], PolicyConfig]:
    """Configurations of the student's UNet and VAE, and the sizes of its policy.

    Raises:
        BadInputError: the specification does not fit this teacher.
    """
    config = teacher.config
    frames = spec.frames or config.former.frames
    if config.former.frames % frames:
        raise BadInputError(
            f"student {spec.name}: {frames} frames are no divisor of the teacher's {config.former.frames}; write a "
            "specification for this teacher, as docs/distillation.md shows"
        )
    tap = config.extract_layer if spec.extract_layer_idx is None else spec.extract_layer_idx
    if tap > config.extract_layer:
        raise BadInputError(
            f"student {spec.name}: extract_layer_idx {tap} is beyond the teacher's {config.extract_layer}"
        )
    unet = dict(teacher.unet.config)
    sizes = unet_sizes(unet)
    own = _channels(spec, unet["block_out_channels"])
    unet |= {
        "block_out_channels": own,
        "num_attention_heads": [_heads(h, c, o) for h, c, o in zip(sizes.heads, sizes.channels, own, strict=True)],
        "num_frames": frames,
    }
    if spec.layers_per_block is not None:
        unet["layers_per_block"] = spec.layers_per_block
    student = replace(
        config,
        former=replace(config.former, frames=frames, time_embeddings=frames),
        extract_layer=tap,
        computed_frames=frames,
    )
    return unet, _vae_config(teacher, spec), student


def student_stride(teacher: Checkpoint, spec: StudentSpec) -> int:
    """The student's frames are the teacher's 0, stride, 2 * stride, ...; errors as for `student_configs`."""
    return teacher.config.former.frames // student_configs(teacher, spec)[2].former.frames


def student_start(teacher: Checkpoint, spec: StudentSpec) -> StudentStart:
    """What the student starts with. Raises BadInputError if the specification does not fit this teacher."""
    unet_config, vae_config, config = student_configs(teacher, spec)
    shapes = unet_shapes(unet_config)
    unet = unet_from_teacher(teacher.unet.tensors, teacher.unet.config, unet_config, shapes)
    start = StudentStart(
        unet=ModelPart(unet_config, unet),
        vae=ModelPart(vae_config, _encoder(teacher, vae_config, spec.encoder.kind)),
        config=config,
        stride=teacher.config.former.frames // config.former.frames,
    )
    _keep_time(teacher, start)
    return start


def former_start(tensors: Tensors, stride: int) -> Tensors:
    """The Video Former's tensors for the frames that the student computes, its own to train."""
    by_frame = ("latents", "time_pos_emb")
    return {name: (tensor[::stride] if name in by_frame else tensor).clone() for name, tensor in tensors.items()}


def _channels(spec: StudentSpec, channels: list[int]) -> list[int]:
    if spec.block_out_channels is not None:
        own = list(spec.block_out_channels)
        if len(own) != len(channels):
            raise BadInputError(
                f"student {spec.name}: {len(own)} block_out_channels for a UNet of {len(channels)} blocks"
            )
    else:
        share = spec.width or 1.0
        own = [max(1, round(share * c / CHANNEL_STEP)) * CHANNEL_STEP for c in channels]
    if any(o > c for o, c in zip(own, channels, strict=True)):
        raise BadInputError(f"student {spec.name}: widths {own} are beyond the teacher's {list(channels)}")
    return own


def _heads(heads: int, channels: int, own: int) -> int:
    """As many heads of the teacher's width as fit, at least one."""
    return next(n for n in range(max(1, round(heads * own / channels)), 0, -1) if own % n == 0)


def _vae_config(teacher: Checkpoint, spec: StudentSpec) -> dict[str, Any]:
    config, encoder = teacher.vae.config, spec.encoder
    if encoder.kind == FULL:
        return config
    widths, sizes = list(encoder.block_out_channels), latent_factor(config).bit_length()
    if len(widths) != sizes:
        raise BadInputError(
            f"student {spec.name}: {counted(len(widths), 'encoder width')}, expected {sizes}: the latent must keep its "
            "size"
        )
    common = {key: config[key] for key in _KEPT if key in config}
    if encoder.kind == TINY:
        layers = list(encoder.layers_per_block)
        return {
            "_class_name": "AutoencoderTiny",
            "encoder_block_out_channels": widths,
            "num_encoder_blocks": layers,
            "decoder_block_out_channels": widths,
            "num_decoder_blocks": layers[::-1],
            **common,
        }
    if config["_class_name"] != _KL:
        raise BadInputError(f"student {spec.name}: a kl encoder is cut out of an {_KL}; this teacher has none")
    return config | {"block_out_channels": widths, "layers_per_block": encoder.layers_per_block[0]}


def _encoder(teacher: Checkpoint, config: dict[str, Any], kind: str) -> Tensors:
    """The tensors of the student's image encoder at its start, without a decoder, which no policy has a use for."""
    if kind == FULL:
        return teacher.vae.tensors
    shapes = {name: shape for name, shape in vae_shapes(config).items() if not name.startswith(_UNUSED_IN_VAE)}
    if kind == KL:
        layers = teacher.vae.config.get("layers_per_block", 1)
        return encoder_from_teacher(teacher.vae.tensors, layers, config["layers_per_block"], shapes)
    generator = torch.Generator().manual_seed(0)
    return {name: _drawn(shape, generator) for name, shape in shapes.items()}


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Weights of a convolution that keep the scale of its input; zeros for a bias."""
    if len(shape) == 1:
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) / math.prod(shape[1:]) ** 0.5


@torch.no_grad()
def _keep_time(teacher: Checkpoint, start: StudentStart) -> None:
    """Makes the student's embeddings of noise level and frame numbers the teacher's, in place."""
    own = start.video_model(teacher.scheduler)
    wanted, found = (model.time_embedding(torch.float32)[0] for model in (video_model_from_checkpoint(teacher), own))
    own.unet.time_embedding.linear_2.bias += wanted[evenly(len(wanted), len(found))] - found
    if start.stride > 1:
        for module in own.unet.modules():
            if hasattr(module, "time_pos_embed"):
                _keep_frames(module, start.config.former.frames, start.stride)


def _keep_frames(transformer: Any, frames: int, stride: int) -> None:
    """Changes the first Linear of an embedding of frame numbers so that frame i is embedded as i * stride was."""
    linear: nn.Linear = transformer.time_pos_embed.linear_1
    numbers = torch.arange(frames)
    before, now = (transformer.time_proj(n).double() for n in (numbers * stride, numbers))
    missing = (before - now) @ linear.weight.double().T  # (F, E)
    linear.weight += (torch.linalg.pinv(now) @ missing).T.to(linear.weight.dtype)
