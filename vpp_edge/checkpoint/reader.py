"""Read a whole trained policy from the paths of its three parts: checked weights, sizes and spec.

Everything is checked before anything is used: file by file (half downloads, LFS pointers, wrong model types), every
number of a configuration, then every tensor of every part against the sizes, with all problems reported in one error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.checkpoint.checks import disagreements, tensor_faults, text_copy_notes
from vpp_edge.checkpoint.choices import Choices, chosen_config
from vpp_edge.checkpoint.config import PolicyConfig, policy_config
from vpp_edge.checkpoint.foreign_models import foreign_model
from vpp_edge.checkpoint.model_configs import check_scheduler, feature_pixels, image_size
from vpp_edge.checkpoint.parts import (
    ModelPart,
    pad_token_id,
    read_configs,
    read_text_weights,
    read_video_weights,
    scheduler_path,
)
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.policy_bounds import policy_bounds
from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.checkpoint.policy_spec import policy_spec_from_config, variant_from_arguments
from vpp_edge.checkpoint.vaes import latent_factor
from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.errors import CheckpointError
from vpp_edge.spec.policy import PolicySpec

__all__ = ["Checkpoint", "Choices", "ModelPart", "read_checkpoint"]

_AS_TRAINED = Choices()
_MOST_PROBLEMS_SHOWN = 40
_ONE_STEP = (
    "one sampling step cannot follow the chunk that is being executed: `run` takes this policy with --chunking naive"
)


@dataclass(frozen=True)
class Checkpoint:
    """A trained policy in memory.

    Attributes:
        paths: where it was read from.
        config: sizes and settings that the modules are built from.
        trained: the same before the user's choices were applied.
        spec: what the runtime must know.
        unet, vae, text: the networks below the policy; `scheduler` is the Euler scheduler's config.
        former, head: tensors of policy.pt without their prefix.
        notes: unusual findings that are not errors, one sentence each.
        card: of a student: where it comes from and what it kept, as it states it itself; None: not a student.
    """

    paths: CheckpointPaths
    config: PolicyConfig
    trained: PolicyConfig
    spec: PolicySpec
    unet: ModelPart
    vae: ModelPart
    text: ModelPart
    scheduler: dict[str, Any]
    former: Tensors
    head: Tensors
    notes: tuple[str, ...]
    card: dict[str, Any] | None = None


def read_checkpoint(paths: CheckpointPaths, choices: Choices = _AS_TRAINED) -> Checkpoint:
    """Reads and checks a trained policy. Needs as much memory as its float32 weights.

    Raises:
        CheckpointError: anything is unsafe, missing, extra, misshapen, damaged, out of range or of another model.
    """
    policy = load_policy_file(paths.policy, choices.weights)
    configs = read_configs(paths.video_model, paths.text_encoder)
    unet_path = paths.video_model / "unet" / "config.json"
    arguments = Arguments(policy.arguments)
    shapes = {name: tuple(t.shape) for name, t in policy.tensors.items()}
    _refuse_other_policies(arguments)
    actions = shapes.get(f"{names.HEAD_PREFIX}action_pred.bias", (0,))[0]
    variant = choices.variant or variant_from_arguments(arguments, actions)
    trained = policy_config(
        arguments,
        shapes,
        variant,
        text_width=configs.text["projection_dim"],
        text_positions=configs.text["max_position_embeddings"],
    )
    config = chosen_config(trained, choices)
    bounds = policy_bounds(
        arguments, variant, actions=config.head.actions, proprio=config.head.proprio, raw=choices.raw_actions
    )
    image = image_size(configs.unet, configs.vae, unet_path)
    check_scheduler(configs.scheduler, scheduler_path(paths.video_model), config.video_steps)
    pad = pad_token_id(paths.text_encoder, configs.text["vocab_size"])
    former, head, extra = _split(policy.tensors)

    unet_weights, vae_weights = read_video_weights(paths.video_model, paths.policy, choices.weights)
    text_weights = read_text_weights(paths.text_encoder, choices.weights)
    parts = (policy, unet_weights, vae_weights, text_weights)
    if choices.weights == "ema" and not any(part.averaged for part in parts):
        raise CheckpointError(
            f"--weights ema: neither {paths.policy} nor {paths.video_model} nor {paths.text_encoder} holds averaged "
            "weights. Leave it out."
        )
    unet = ModelPart(configs.unet, unet_weights.tensors)
    vae = ModelPart(configs.vae, vae_weights.tensors)
    text = ModelPart(configs.text, text_weights.tensors)
    faults = tensor_faults(config, unet=unet, vae=vae, text=text, former=former, head=head, extra=extra)
    _raise_problems(faults + disagreements(config, unet, vae, text))

    notes = (
        *paths.notes,
        *(note for part in parts for note in part.notes),
        *text_copy_notes(extra, text),
        *bounds.notes,
        *((_ONE_STEP,) if config.sampler.steps == 1 else ()),
    )
    latent_side = image // latent_factor(vae.config)
    spec = policy_spec_from_config(
        config,
        variant,
        cameras=choices.cameras,
        action_rate_hz=choices.action_rate_hz,
        bounds=bounds,
        quaternion_order=choices.quaternion_order,
        image_size=image,
        latent=(vae.config["latent_channels"], latent_side, latent_side),
        feature_pixels=feature_pixels(unet.config, latent_side, config.extract_layer),
        pad_token_id=pad,
        notes=notes,
    )
    return Checkpoint(
        paths=paths,
        config=config,
        trained=trained,
        spec=spec,
        unet=unet,
        vae=vae,
        text=text,
        scheduler=configs.scheduler,
        former=former,
        head=head,
        notes=notes,
        card=None if config.distilled_steps is None else dict(arguments.get("distilled")),
    )


def _refuse_other_policies(arguments: Arguments) -> None:
    """Raises CheckpointError where the arguments name a policy of another architecture."""
    target = arguments.get("model._target_", "")
    hint = foreign_model(target)
    if hint:
        raise CheckpointError(f"policy.pt: args.model._target_ is {target!r}. {hint}")


def _raise_problems(problems: list[str]) -> None:
    if not problems:
        return
    shown = problems[:_MOST_PROBLEMS_SHOWN]
    more = f"\n  ... and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
    raise CheckpointError(
        f"checkpoint does not hold a VPP policy: {len(problems)} problems\n  " + "\n  ".join(shown) + more
    )


def _split(tensors: Tensors) -> tuple[Tensors, Tensors, Tensors]:
    """The weights of Video Former and action head without their prefix, and all other tensors."""
    prefixes = (names.FORMER_PREFIX, names.HEAD_PREFIX)
    used = {n: t for n, t in tensors.items() if n not in names.UNUSED_IN_FILE}
    former, head = ({n[len(p) :]: t for n, t in used.items() if n.startswith(p)} for p in prefixes)
    return former, head, {n: t for n, t in tensors.items() if not n.startswith(prefixes)}
