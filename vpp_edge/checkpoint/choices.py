"""Choices that a user may make for a checkpoint, and the settings that result."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vpp_edge.checkpoint.bounded import shown
from vpp_edge.checkpoint.config import MOST_STEPS, SAMPLERS, PolicyConfig
from vpp_edge.checkpoint.policy_spec import VARIANTS
from vpp_edge.errors import CheckpointError
from vpp_edge.number_range import real, whole

WEIGHTS = ("model", "ema")
STEPS = whole(1, MOST_STEPS)  # of the sampler
FRAMES = whole(1, 1024)  # which of them divide those of the policy, the checkpoint says
VIEWS = whole(1, 16)
ACTIONS_HZ = real(0.1, 1000)


@dataclass(frozen=True)
class Choices:
    """Settings that a checkpoint does not state, or that may differ from training.

    Attributes:
        variant: `calvin`, `xhand` or `xbot`; None: from the configuration.
        cameras: number of views; None: as the variant was trained.
        action_rate_hz: actions per second of a chunk; None: of the variant's training data.
        quaternion_order: `xyzw` (scipy's, as the training code reads them) or `wxyz`.
        steps: sampling steps of the action head; None: as trained.
        solver: sampler of the action head; None: as trained.
        frames: frames that the video model computes, a divisor of those the Video Former sees; None: all.
        raw_actions: a real-robot policy was trained without normalization: its numbers are metres and radians.
        weights: `ema`: averaged weights where the checkpoint has some; `model`: the weights as they are; None: those,
            with a LoRA that lies beside them merged.
    """

    variant: str | None = None
    cameras: int | None = None
    action_rate_hz: float | None = None
    quaternion_order: str = "xyzw"
    steps: int | None = None
    solver: str | None = None
    frames: int | None = None
    raw_actions: bool = False
    weights: str | None = None

    def of_student(self) -> Choices:
        """Those of a student, whose checkpoint has the weights that its teacher was read with."""
        return replace(self, weights=None)

    def __post_init__(self) -> None:
        if self.variant is not None and self.variant not in VARIANTS:
            raise CheckpointError(f"variant {self.variant!r} is not one of {', '.join(VARIANTS)}")
        ranges = {"cameras": VIEWS, "action_rate_hz": ACTIONS_HZ, "steps": STEPS, "frames": FRAMES}
        for name, within in ranges.items():
            if (value := getattr(self, name)) is not None and value not in within:
                raise CheckpointError(f"{name} is {shown(value)}, expected {within}")
        if self.weights is not None and self.weights not in WEIGHTS:
            raise CheckpointError(f"weights {self.weights!r} is not one of {', '.join(WEIGHTS)}")
        if self.solver is not None and self.solver not in SAMPLERS:
            raise CheckpointError(f"solver {self.solver!r} is not one of {', '.join(SAMPLERS)}")


def chosen_config(trained: PolicyConfig, choices: Choices) -> PolicyConfig:
    """The trained settings with the user's choices applied."""
    frames = trained.former.frames
    computed = frames if choices.frames is None else choices.frames
    if computed < 1 or frames % computed:
        divisors = ", ".join(str(n) for n in range(1, frames + 1) if frames % n == 0)
        raise CheckpointError(f"{computed} frames do not divide the policy's {frames}; expected one of {divisors}")
    distilled = trained.distilled_steps
    if distilled is not None and (choices.steps not in (None, distilled) or choices.solver not in (None, "ddim")):
        raise CheckpointError(
            f"this head was distilled to {distilled} DDIM steps and gives other actions in any other number; leave out "
            "--steps and --solver, or export its teacher"
        )
    sampler = replace(
        trained.sampler, name=choices.solver or trained.sampler.name, steps=choices.steps or trained.sampler.steps
    )
    return replace(trained, sampler=sampler, computed_frames=computed)
