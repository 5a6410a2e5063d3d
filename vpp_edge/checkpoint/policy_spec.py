"""Build the PolicySpec of the manifest from a policy's sizes and arguments (docs/vpp.md, step 7)."""

from __future__ import annotations

import math

from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.checkpoint.config import GOAL_TEXT_LENGTH, PolicyConfig, SamplerConfig
from vpp_edge.checkpoint.policy_bounds import PolicyBounds
from vpp_edge.spec.policy import ActionSegment, ActionSpec, CameraSpec, PolicySpec, StateSpec

VARIANTS = ("calvin", "xhand", "xbot")
# Views in batch order, as in the released code.
CAMERAS = {"calvin": ("static", "wrist"), "xhand": ("static", "wrist"), "xbot": ("static", "wrist", "wrist2")}
# Control rate of the training data: CALVIN 30 Hz; the released dexterous-hand recordings 10 Hz.
ACTION_RATE_HZ = {"calvin": 30.0, "xhand": 10.0, "xbot": 10.0}
# CALVIN scales relative actions so that 1 is 0.02 m and 0.05 rad (calvin_env, robot.relative_to_absolute).
CALVIN_METRES, CALVIN_RADIANS = 0.02, 0.05
_ARM_STATE = 19  # xyz, quaternion, 12 joints


def variant_from_arguments(arguments: Arguments, actions: int) -> str:
    """The variant of a policy: from its action width if that is a released one, otherwise from its names.

    The real-robot variants share training code and use each other's names, so the width takes precedence.
    """
    named = f"{arguments.text('benchmark_name', '')} {arguments.text('model._target_', '')}".lower()
    by_name = [v for v in VARIANTS if v in named]
    by_width = {7: "calvin", 18: "xhand", 38: "xbot"}.get(actions)
    shared = {"xhand", "xbot"} if by_width != "calvin" else {"xbot"}
    if by_width is not None and (by_width in by_name or shared.issuperset(by_name)):
        return by_width
    if by_name:
        return by_name[0]
    return "xhand" if arguments.get("dataset_args.action_01") is not None else "calvin"


def segments_from_variant(variant: str, actions: int) -> tuple[ActionSegment, ...]:
    """The action segments of a variant (docs/vpp.md, step 7); one `raw` segment for any other width."""
    if variant == "calvin" and actions == 7:
        return (
            ActionSegment(kind="delta_position", start=0, size=3, unit="m", scale=CALVIN_METRES),
            ActionSegment(kind="relative_rotation", start=3, size=3, unit="rad", scale=CALVIN_RADIANS),
            ActionSegment(kind="gripper", start=6, size=1, unit="1"),
        )
    if variant == "xhand" and actions > 6:
        return (
            ActionSegment(kind="delta_position", start=0, size=3, unit="m", state_start=0),
            ActionSegment(kind="relative_rotation", start=3, size=3, unit="rad", state_start=3),
            ActionSegment(kind="joint_position", start=6, size=actions - 6, unit="rad", state_start=7),
        )
    if variant == "xbot" and actions == 2 * _ARM_STATE:
        return tuple(
            ActionSegment(
                kind=kind,
                start=arm * _ARM_STATE + start,
                size=size,
                unit=unit,
                arm=arm,
                state_start=arm * _ARM_STATE + start,
                offset_from_state=True,
            )
            for arm in (0, 1)
            for kind, start, size, unit in (
                ("position", 0, 3, "m"),
                ("quaternion", 3, 4, "1"),
                ("joint_position", 7, 12, "rad"),
            )
        )
    return (ActionSegment(kind="raw", start=0, size=actions, unit="1"),)


def exponential_sigmas(sampler: SamplerConfig) -> tuple[float, ...]:
    """Noise levels from sigma_max to sigma_min, evenly spaced in their logarithm, then 0.

    Source: k-diffusion, get_sigmas_exponential.
    """
    top, bottom, steps = math.log(sampler.sigma_max), math.log(sampler.sigma_min), sampler.steps
    levels = [math.exp(top + (bottom - top) * i / max(steps - 1, 1)) for i in range(steps)]
    return (*levels, 0.0)


def policy_spec_from_config(
    config: PolicyConfig,
    variant: str,
    *,
    cameras: int | None,
    action_rate_hz: float | None,
    bounds: PolicyBounds,
    quaternion_order: str,
    image_size: int,
    latent: tuple[int, int, int],
    feature_pixels: int,
    pad_token_id: int,
    notes: tuple[str, ...],
) -> PolicySpec:
    """The PolicySpec of a checkpoint; see its fields. `feature_pixels`: number of features of one view and frame."""
    names = (
        CAMERAS[variant] if cameras is None else ("static", *(f"wrist{i if i > 1 else ''}" for i in range(1, cameras)))
    )
    former, head = config.former, config.head
    tokens = former.frames * (former.queries_per_frame or len(names) * feature_pixels)
    rate_hz = action_rate_hz or ACTION_RATE_HZ[variant]
    state = None
    if head.proprio is not None:
        quaternions = (3,) if variant == "xhand" else ()  # only the xhand dataset code makes them canonical
        state = StateSpec(
            dims=head.proprio,
            bounds=bounds.state,
            quaternions=quaternions,
            quaternion_order=quaternion_order,
        )
    action = ActionSpec(
        dims=head.actions,
        horizon=head.horizon,
        period_ns=round(1e9 / rate_hz),
        bounds=bounds.action,
        segments=segments_from_variant(variant, head.actions),
    )
    return PolicySpec(
        variant=variant,
        cameras=tuple(CameraSpec(name, image_size, image_size) for name in names),
        frames=former.frames,
        latent=latent,
        tokens=(tokens, former.width),
        text_lengths=(config.text_length, GOAL_TEXT_LENGTH),
        pad_token_id=pad_token_id,
        action=action,
        state=state,
        sigmas=exponential_sigmas(config.sampler),
        sampler=config.sampler.name,
        notes=notes,
        computed_frames=config.computed_frames if config.computed_frames < former.frames else None,
        raw_actions=bounds.raw,
        prefix_pulls=config.prefix_pulls,
    )
