"""Read every size of a trained policy from its arguments and tensor shapes into one frozen record.

Values that the released training code fixes, and that neither arguments nor shapes state, are named constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.checkpoint.bounded import shown, whole_number
from vpp_edge.errors import CheckpointError

# Fixed in the released VPP code and not stored in checkpoints.
HEAD_ATTENTION_HEADS = 8
VIDEO_FRAMES = 16
GOAL_TEXT_LENGTH = 77
MOST_STEPS = 1000  # of the action sampler, and of the video scheduler, which was trained with 1000
MOST_LAYERS = 256
MOST_ACTIONS = 1000  # in a chunk
FPS, MOTION_BUCKET, NOISE_AUGMENTATION = 4, 127, 0
SAMPLERS = ("ddim", "dpmpp_2m")
NOISE_SCHEDULES = ("exponential",)

_MOST_DIGITS = 10  # of a number in a tensor's name
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class FormerConfig:
    """Video Former. `kind` is `3d`, `2d` (no temporal attention) or `linear` (one projection, no resampling)."""

    kind: str
    channels: int
    width: int
    frames: int
    time_embeddings: int = 0
    queries_per_frame: int = 0
    depth: int = 0
    heads: int = 0
    head_width: int = 0
    hidden: int = 0
    feed_forward: int = 0


@dataclass(frozen=True)
class HeadConfig:
    """Action head: encoder and decoder transformer with its denoiser's noise scale."""

    width: int
    token_width: int
    goal_width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    feed_forward: int
    actions: int
    horizon: int
    proprio: int | None
    proprio_tensor: int  # width of the embedding's input, 0 if the policy has none
    positions: int
    projection_hidden: int
    sigma_data: float


@dataclass(frozen=True)
class SamplerConfig:
    """Noise levels of the action sampler (k-diffusion exponential schedule) and its name."""

    name: str
    steps: int
    sigma_min: float
    sigma_max: float


@dataclass(frozen=True)
class PolicyConfig:
    """A trained policy's sizes and settings besides the configs of its diffusers and transformers parts.

    Attributes:
        computed_frames: how many of the `former.frames` F are computed; F as trained.
        distilled_steps: the only number of sampling steps that a distilled head was made for; None: not distilled.
        prefix_pulls: as in `PolicySpec`.
    """

    former: FormerConfig
    head: HeadConfig
    sampler: SamplerConfig
    extract_layer: int
    all_layers: bool
    video_steps: int
    text_length: int
    position_encoding: bool
    computed_frames: int
    distilled_steps: int | None = None
    prefix_pulls: int = 1


def policy_config(
    arguments: Arguments, shapes: Shapes, variant: str, *, text_width: int, text_positions: int
) -> PolicyConfig:
    """The sizes of a policy from its arguments (`args.model`) and the shapes of its tensors.

    Args:
        arguments: of policy.pt.
        shapes: tensor name -> shape of policy.pt.
        variant: `calvin`, `xhand` or `xbot`.
        text_width, text_positions: projection width of the text encoder, and the most tokens that it takes.

    Raises:
        CheckpointError: a tensor that determines a size is missing, a number is out of range, arguments and shapes
            disagree, or the arguments name an unsupported sampler or schedule.
    """
    former = _former_config(arguments, shapes)
    return PolicyConfig(
        former=former,
        head=_head_config(arguments, shapes, former, text_width),
        sampler=_sampler_config(arguments),
        extract_layer=arguments.integer("model.extract_layer_idx", 1, lowest=0, highest=7),
        all_layers=arguments.flag("model.use_all_layer", False),
        video_steps=arguments.integer("model.timestep", 20, highest=MOST_STEPS),
        text_length=arguments.integer("model.max_length", 20, lowest=2, highest=text_positions),
        # The real-robot code always adds the position table (docs/vpp.md, step 1).
        position_encoding=variant != "calvin" or arguments.flag("model.use_position_encoding", True),
        computed_frames=former.frames,
        distilled_steps=_distilled_steps(arguments),
        prefix_pulls=arguments.integer("distilled.prefix_pulls", 1, highest=MOST_STEPS),
    )


def _distilled_steps(arguments: Arguments) -> int | None:
    if arguments.get("distilled.head_steps") is None:
        return None
    return arguments.integer("distilled.head_steps", highest=MOST_STEPS)


def _former_config(arguments: Arguments, shapes: Shapes) -> FormerConfig:
    older_name = "3d" if arguments.flag("model.use_3d_Former", False) else "2d"
    stated = arguments.text("model.use_Former", older_name).lower()
    if "Video_Former.weight" in shapes:
        kind, (width, channels) = "linear", _shape(shapes, "Video_Former.weight", 2)
        config = FormerConfig(
            kind=kind,
            channels=channels,
            width=width,
            frames=arguments.integer("model.Former_num_time_embeds", VIDEO_FRAMES, highest=MOST_LAYERS),
        )
    else:
        frames, queries, width = _shape(shapes, "Video_Former.latents", 3)
        hidden, channels = _shape(shapes, "Video_Former.goal_emb.0.weight", 2)
        inner, _ = _shape(shapes, "Video_Former.layers.0.0.to_q.weight", 2)
        kind = "3d" if "Video_Former.layers.0.1.qkv.weight" in shapes else "2d"
        feed_forward = _shape(shapes, f"Video_Former.layers.0.{2 if kind == '3d' else 1}.1.weight", 2)[0]
        heads = arguments.integer("model.Former_heads", 8)
        if inner % heads or (kind == "3d" and width % heads):
            raise CheckpointError(
                f"policy.pt: Former_heads {heads} divides neither {inner} nor {width} of the Video Former"
            )
        time_embeddings, _, _ = _shape(shapes, "Video_Former.time_pos_emb", 3)
        if time_embeddings < frames:
            raise CheckpointError(
                f"policy.pt: {time_embeddings} time embeddings for {frames} frames of the Video Former"
            )
        config = FormerConfig(
            kind=kind,
            channels=channels,
            width=width,
            frames=frames,
            time_embeddings=time_embeddings,
            queries_per_frame=queries,
            depth=_count(shapes, "Video_Former.layers."),
            heads=heads,
            head_width=inner // heads,
            hidden=hidden,
            feed_forward=feed_forward,
        )
    if stated in ("2d", "3d", "linear") and stated != kind:
        raise CheckpointError(
            f"policy.pt: args.model states a {stated} Video Former, but the tensors are of a {kind} one"
        )
    _agree(arguments, "model.latent_dim", width)
    if kind != "linear":
        _agree(arguments, "model.num_latents", config.frames * config.queries_per_frame)
        _agree(arguments, "model.Former_depth", config.depth)
        _agree(arguments, "model.Former_dim_head", config.head_width)
    return config


def _head_config(arguments: Arguments, shapes: Shapes, former: FormerConfig, text_width: int) -> HeadConfig:
    prefix = "model.inner_model."
    width, actions = _shape(shapes, f"{prefix}action_emb.weight", 2)
    _, token_width = _shape(shapes, f"{prefix}tok_emb.weight", 2)
    projection_hidden, goal_width = _shape(shapes, f"{prefix}lang_emb.0.weight", 2)
    has_proprio = f"{prefix}proprio_emb.0.weight" in shapes
    proprio = _shape(shapes, f"{prefix}proprio_emb.0.weight", 2)[1] if has_proprio else 0
    _, positions, _ = _shape(shapes, f"{prefix}pos_emb", 3)
    feed_forward, _ = _shape(shapes, f"{prefix}encoder.blocks.0.mlp.c_fc.weight", 2)
    horizon = arguments.integer(
        "model.act_window_size",
        arguments.integer("model.action_seq_len", 10, highest=MOST_ACTIONS),
        highest=MOST_ACTIONS,
    )
    _agree(arguments, "model.action_dim", actions)
    if token_width != former.width:
        raise CheckpointError(
            f"policy.pt: the head takes tokens of width {token_width}, the Video Former gives {former.width}"
        )
    if goal_width != text_width:
        raise CheckpointError(
            f"policy.pt: the head takes a goal of width {goal_width}, the text encoder in clip/ gives {text_width}"
        )
    if width % HEAD_ATTENTION_HEADS:
        raise CheckpointError(
            f"policy.pt: head width {width} is not divisible by {HEAD_ATTENTION_HEADS} attention heads"
        )
    # The CALVIN code has a proprio embedding and never uses it; the real-robot code feeds it the normalized state.
    stated = (
        arguments.integer("model.proprio_dim", 0, lowest=0) > 0 or arguments.get("dataset_args.state_01") is not None
    )
    uses_proprio = has_proprio and stated
    if uses_proprio:
        _agree(arguments, "model.proprio_dim", proprio)
    return HeadConfig(
        width=width,
        token_width=token_width,
        goal_width=goal_width,
        heads=HEAD_ATTENTION_HEADS,
        encoder_layers=_count(shapes, f"{prefix}encoder.blocks."),
        decoder_layers=_count(shapes, f"{prefix}decoder.blocks."),
        feed_forward=feed_forward,
        actions=actions,
        horizon=horizon,
        proprio=proprio if uses_proprio else None,
        proprio_tensor=proprio,
        positions=positions,
        projection_hidden=projection_hidden,
        sigma_data=arguments.number("model.sigma_data", 0.5, lowest=1e-3, highest=1e3),
    )


def _sampler_config(arguments: Arguments) -> SamplerConfig:
    name, schedule = arguments.get("model.sampler_type", "ddim"), arguments.get("model.noise_scheduler", "exponential")
    if name not in SAMPLERS:
        raise CheckpointError(
            f"policy.pt: args.model.sampler_type {shown(name)} is not supported; supported: {', '.join(SAMPLERS)}"
        )
    if schedule not in NOISE_SCHEDULES:
        raise CheckpointError(
            f"policy.pt: args.model.noise_scheduler {shown(schedule)} is not supported; supported: "
            + ", ".join(NOISE_SCHEDULES)
        )
    sampler = SamplerConfig(
        name=name,
        steps=arguments.integer("model.num_sampling_steps", 10, highest=MOST_STEPS),
        sigma_min=arguments.number("model.sigma_min", 0.001, lowest=1e-6, highest=1e6),
        sigma_max=arguments.number("model.sigma_max", 80, lowest=1e-6, highest=1e6),
    )
    if sampler.sigma_min >= sampler.sigma_max:
        raise CheckpointError(
            f"policy.pt: args.model.sigma_min {sampler.sigma_min:g} is not below sigma_max {sampler.sigma_max:g}"
        )
    return sampler


def _shape(shapes: Shapes, name: str, dims: int) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(
            f"policy.pt: missing {name}, which determines a size. Is this the `model` of a trained VPP policy?"
        )
    if len(shapes[name]) != dims:
        raise CheckpointError(f"policy.pt: {name} has shape {shapes[name]}, expected {dims} dimensions")
    if min(shapes[name]) < 1:
        raise CheckpointError(f"policy.pt: {name} has shape {shapes[name]}, which holds no numbers")
    return shapes[name]


def _count(shapes: Shapes, prefix: str) -> int:
    """Number of layers, from the highest number after `prefix`."""
    numbers = {name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)}
    return 1 + max(whole_number(_digits(n), f"policy.pt: a layer of {prefix}*", 0, MOST_LAYERS - 1) for n in numbers)


def _digits(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else text


def _agree(arguments: Arguments, path: str, found: int) -> None:
    if arguments.get(path) is not None and arguments.integer(path, lowest=0) != found:
        raise CheckpointError(f"policy.pt: args.{path} is {arguments.get(path)}, the tensors have {found}")
