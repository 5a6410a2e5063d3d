"""Write an untrained policy in the trained format: a folder with svd/, clip/ and policy.pt from sizes and a seed.

For running the whole pipeline without a trained checkpoint (`vpp-edge demo`, tests): the real networks at a small size
with random weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.bounded import whole_number
from vpp_edge.checkpoint.config import HEAD_ATTENTION_HEADS, VIDEO_FRAMES, FormerConfig, HeadConfig
from vpp_edge.errors import BadInputError

Limits = tuple[Sequence[float], Sequence[float]]
DEFAULT_BOUND = 0.95  # m, rad; not 1, which looks like a placeholder

_BLOCKS = 4  # sizes of images in UNet and VAE
# What every size is a multiple of: group norms have 32 groups, the heads of attention and their tables two halves.
_SIZE_STEPS = {
    **dict.fromkeys(("frames", "queries", "depth", "actions", "horizon", "proprio", "steps", "blocks"), 1),
    **dict.fromkeys(("head_width", "head_depth", "text_layers", "text_heads", "text_feed_forward"), 1),
    "channels": 32,
    "vae_channels": 32,
    "width": 16,
    "text_width": 2,
    "time_width": 2,
    "attention_heads": 1,
}
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


@dataclass(frozen=True)
class UntrainedSizes:
    """Sizes of an untrained policy.

    Attributes:
        image: side of the image in pixels, a multiple of 64 from 128 (the VAE and the UNet halve it six times, and one
            pixel is nothing to normalize over).
        frames: F, predicted video frames.
        channels: UNet block widths, multiples of 32; vae_channels: those of the VAE, all the same where it is tiny.
        vae: `kl`: Stable Video Diffusion's AutoencoderKLTemporalDecoder, or `tiny`: an AutoencoderTiny.
        tiny_blocks: residual blocks at each size of a tiny VAE, from 0; the default is TAESD's.
        width: of Video Former and action head, a multiple of 16.
        queries: Video Former queries per frame.
        depth: layers of the Video Former.
        kind: of the Video Former: `3d`, `2d` or `linear`.
        all_layers: the Video Former sees all up blocks, not only the last one.
        actions, horizon, proprio: A, T and P (None: no proprioception).
        steps: sampling steps.
        text_width: of the text encoder.
        blocks: residual blocks at each size of the UNet and of a `kl` VAE.
        attention_heads: of the UNet, one number or one per size.
        time_width: of each of the UNet's three added time embeddings.
        head_width: of one attention head of the Video Former; None: `width` divided by its 8 heads.
        head_depth: layers of the action head's encoder and decoder; None: `depth`.
        text_layers, text_heads, text_feed_forward: of the text encoder; None: twice its width.
        corpus: texts whose frequent words become tokens; all other text is encoded in bytes.
    """

    image: int = 128
    frames: int = VIDEO_FRAMES
    channels: tuple[int, ...] = (32, 32, 64, 64)
    vae_channels: tuple[int, ...] = (32, 32, 32, 32)
    vae: str = "kl"
    tiny_blocks: tuple[int, ...] = (1, 3, 3, 3)
    width: int = 64
    queries: int = 4
    depth: int = 2
    kind: str = "3d"
    all_layers: bool = False
    actions: int = 18
    horizon: int = 8
    proprio: int | None = 19
    steps: int = 10
    text_width: int = 64
    blocks: int = 1
    attention_heads: int | tuple[int, ...] = 2
    time_width: int = 32
    head_width: int | None = None
    head_depth: int | None = None
    text_layers: int = 2
    text_heads: int = 4
    text_feed_forward: int | None = None
    corpus: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image % 64 or self.image < 128:
            raise BadInputError(f"image side {self.image} is not a multiple of 64 from 128")
        if self.vae not in ("kl", "tiny"):
            raise BadInputError(f"vae {self.vae!r} is not one of kl, tiny")
        for name, step in _SIZE_STEPS.items():
            _check_size(name, getattr(self, name), step)
        for number in self.tiny_blocks:
            whole_number(number, "tiny_blocks", 0)
        for name in ("channels", "vae_channels", "tiny_blocks"):
            if len(getattr(self, name)) != _BLOCKS:
                raise BadInputError(f"{name} {getattr(self, name)} needs {_BLOCKS} numbers, one for each size")
        if self.vae == "tiny" and len(set(self.vae_channels)) > 1:
            raise BadInputError(f"vae_channels {self.vae_channels} of a tiny VAE are not all the same")
        heads = self.attention_heads if isinstance(self.attention_heads, tuple) else (self.attention_heads,) * _BLOCKS
        if len(heads) != _BLOCKS or any(c % h for c, h in zip(self.channels, heads, strict=True)):
            raise BadInputError(f"attention_heads {self.attention_heads} do not divide the channels {self.channels}")
        if self.text_width % self.text_heads:
            raise BadInputError(f"text_heads {self.text_heads} do not divide the text_width {self.text_width}")
        if self.kind not in ("3d", "2d", "linear"):
            raise BadInputError(f"kind {self.kind!r} of the Video Former is not one of 3d, 2d, linear")


def _check_size(name: str, value: Any, step: int) -> None:
    """Raises BadInputError unless every number of a size is a positive multiple of `step`; None is a default."""
    for number in value if isinstance(value, tuple) else () if value is None else (value,):
        if whole_number(number, name) % step:
            raise BadInputError(f"{name} is {number}, expected a multiple of {step}")


# The released xhand policy (docs/vpp.md): Stable Video Diffusion's UNet and VAE, CLIP ViT-B/32's text encoder with a
# smaller vocabulary. Its weights are 6.4 GB in float32.
RELEASED_XHAND = UntrainedSizes(
    image=256,
    channels=(320, 640, 1280, 1280),
    vae_channels=(128, 256, 512, 512),
    width=384,
    queries=14,
    depth=6,
    horizon=8,
    text_width=512,
    blocks=2,
    attention_heads=(5, 10, 20, 20),
    time_width=256,
    head_width=64,
    head_depth=4,
    text_layers=12,
    text_heads=8,
    text_feed_forward=2048,
)


def write_untrained_checkpoint(
    folder: Path,
    sizes: UntrainedSizes = UntrainedSizes(),
    *,
    seed: int = 0,
    name: str = "xhand",
    state_bounds: Limits | None = None,
    action_bounds: Limits | None = None,
) -> None:
    """Writes the three parts of a policy with random weights; the same seed gives the same weights.

    Args:
        folder: created if necessary; its parts must not exist.
        name: `benchmark_name` of its arguments, which determines the variant.
        state_bounds, action_bounds: (lower, upper) normalization bounds, P and A numbers each; None:
            DEFAULT_BOUND both ways, or no bounds for a policy without proprioception.
    """
    from omegaconf import OmegaConf

    with quiet_libraries(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _write_video_model(folder / "svd", sizes)
        text = _write_text_encoder(folder / "clip", sizes)
        former, head = configs_of(sizes)
        tensors = _draw(names.FORMER_PREFIX, names.former_tensors(former)) | _draw(
            names.HEAD_PREFIX, names.head_tensors(head)
        )
    for prefix in names.TEXT_COPY_PREFIXES:
        tensors |= {prefix + n: t for n, t in text.items()}
    arguments = _arguments(sizes, name=name, seed=seed, state=state_bounds, action=action_bounds)
    torch.save({"model": tensors, "args": OmegaConf.create(arguments)}, folder / "policy.pt")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences progress bars and warnings of diffusers and transformers about files that VPP does not use."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(levels[0])
        transformers_logging.set_verbosity(levels[1])
        transformers_logging.enable_progress_bar()


def configs_of(s: UntrainedSizes) -> tuple[FormerConfig, HeadConfig]:
    """Sizes of the Video Former and the action head."""
    blocks = list(reversed(s.channels))
    former = FormerConfig(
        kind=s.kind,
        channels=sum(blocks[:2]) if s.all_layers else blocks[1],
        width=s.width,
        frames=s.frames,
        time_embeddings=s.frames,
        queries_per_frame=s.queries,
        depth=s.depth,
        heads=HEAD_ATTENTION_HEADS,
        head_width=s.head_width or s.width // HEAD_ATTENTION_HEADS,
        hidden=2 * s.width,
        feed_forward=4 * s.width,
    )
    head = HeadConfig(
        width=s.width,
        token_width=s.width,
        goal_width=s.text_width,
        heads=HEAD_ATTENTION_HEADS,
        encoder_layers=s.head_depth or s.depth,
        decoder_layers=s.head_depth or s.depth,
        feed_forward=4 * s.width,
        actions=s.actions,
        horizon=s.horizon,
        proprio=s.proprio,
        proprio_tensor=s.proprio or 8,  # the CALVIN code has an embedding of 8 that it never uses
        positions=1 + s.frames * s.queries + s.horizon,
        projection_hidden=2 * s.width,
        sigma_data=0.5,
    )
    return former, head


def _arguments(s: UntrainedSizes, name: str, seed: int, state: Any, action: Any) -> dict[str, Any]:
    model: dict[str, Any] = {
        "_target_": "policy_models.VPP_policy.VPP_Policy",
        "latent_dim": s.width,
        "sampler_type": "ddim",
        "num_sampling_steps": s.steps,
        "sigma_data": 0.5,
        "sigma_min": 0.001,
        "sigma_max": 80,
        "noise_scheduler": "exponential",
        "act_window_size": "${act_seq_len}",
        "action_dim": s.actions,
        "seed": seed,
        "Former_heads": HEAD_ATTENTION_HEADS,
        "Former_num_time_embeds": s.frames,
        "timestep": 20,
        "extract_layer_idx": 1,
        "use_Former": s.kind,
        "use_all_layer": s.all_layers,
        "max_length": 20,
    }
    arguments: dict[str, Any] = {"model": model, "act_seq_len": s.horizon, "benchmark_name": name}
    if s.kind != "linear":
        model |= {"Former_depth": s.depth, "num_latents": s.frames * s.queries}
    if s.proprio is not None:
        model["proprio_dim"] = s.proprio
        bounds = {"state": state or _both_ways(s.proprio), "action": action or _both_ways(s.actions)}
        arguments["dataset_args"] = {
            f"{n}_{p}": list(v) for n, both in bounds.items() for p, v in zip(("01", "99"), both, strict=True)
        }
    return arguments


def _both_ways(dims: int) -> Limits:
    return [-DEFAULT_BOUND] * dims, [DEFAULT_BOUND] * dims


def _draw(prefix: str, shapes: names.Shapes) -> dict[str, torch.Tensor]:
    """Random weights that preserve the signal: unit norms, small biases, matrices that keep the variance."""
    tensors = {}
    for name, shape in shapes.items():
        if len(shape) >= 2:
            value = torch.randn(shape) / (shape[-1] ** 0.5 if name.endswith("weight") else 1.0)
        elif name.endswith("weight"):
            value = torch.ones(shape)
        else:
            value = 0.05 * torch.randn(shape)
        tensors[prefix + name] = value
    return tensors


def video_networks(s: UntrainedSizes) -> tuple[Any, Any]:
    """UNet and VAE of an untrained video model, on the default device."""
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel

    unet = UNetSpatioTemporalConditionModel(
        sample_size=s.image // 8 * 3,
        in_channels=8,
        out_channels=4,
        block_out_channels=s.channels,
        addition_time_embed_dim=s.time_width,
        projection_class_embeddings_input_dim=3 * s.time_width,
        layers_per_block=s.blocks,
        cross_attention_dim=2 * s.text_width,
        num_attention_heads=s.attention_heads,
        num_frames=s.frames,
    )
    if s.vae == "tiny":
        return unet, _tiny_vae(s)
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=s.vae_channels,
        layers_per_block=s.blocks,
    )
    return unet, vae


def _tiny_vae(s: UntrainedSizes) -> Any:
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny(
        encoder_block_out_channels=s.vae_channels,
        num_encoder_blocks=s.tiny_blocks,
        decoder_block_out_channels=s.vae_channels,
        num_decoder_blocks=s.tiny_blocks[::-1],
    )
    for layer in vae.encoder.modules():
        if isinstance(layer, torch.nn.Conv2d):  # as PyTorch draws them, the latents hardly depend on the image
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return vae


def video_scheduler() -> Any:
    """Stable Video Diffusion's scheduler."""
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        sigma_max=700.0,
        sigma_min=0.002,
        steps_offset=1,
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
    )


def _write_video_model(folder: Path, s: UntrainedSizes) -> None:
    from diffusers import StableVideoDiffusionPipeline
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    unet, vae = video_networks(s)
    # The video model's image encoder is part of the format but not used by VPP.
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        projection_dim=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=32,
    )
    pipeline = StableVideoDiffusionPipeline(vae, CLIPVisionModelWithProjection(vision), unet, video_scheduler(), None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)


def text_config(s: UntrainedSizes, vocabulary: Mapping[str, int]) -> Any:
    """The transformers configuration of the text encoder."""
    from transformers import CLIPTextConfig

    start, end = (vocabulary[token] for token in _SPECIAL)
    return CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=s.text_width,
        intermediate_size=s.text_feed_forward or 2 * s.text_width,
        projection_dim=s.text_width,
        num_hidden_layers=s.text_layers,
        num_attention_heads=s.text_heads,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
    )


def _write_text_encoder(folder: Path, s: UntrainedSizes) -> dict[str, torch.Tensor]:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    vocabulary, merges = byte_pairs(s.corpus)
    config = text_config(s, vocabulary)
    encoder = CLIPTextModelWithProjection(config)
    encoder.save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77).save_pretrained(folder)
    return {n: t.clone() for n, t in encoder.state_dict().items()}


def byte_pairs(corpus: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE like CLIP's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(symbol + "</w>" for symbol in alphabet)]
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=len(tokens) + 1000, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(corpus, trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    vocabulary = {token: i for i, token in enumerate([*tokens, *("".join(pair) for pair in merges), *_SPECIAL])}
    return vocabulary, merges
