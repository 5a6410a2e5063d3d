"""What the policy process is started with."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.runtime.interfaces import Grip, PolicyWrapper


@dataclass(frozen=True)
class PolicySettings:
    """What the policy process loads and how it runs.

    Attributes:
        bundle: folder.
        backend: engine library, or `scripted`.
        provider: execution provider of ONNX Runtime.
        threads: of the engine; one core must stay for control.
        seed: of the noise; look n draws from (seed, n), so that any recorded inference can be repeated.
        arm: which arm of a two-armed policy the hand is.
        frame_periods_ns: per view, the requested time between two frames; 0: the camera's own.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that command a gripper width.
        chunking: how one chunk hands over to the next, one of `handover_modes.MODES`.
        acts_per_look: as in SessionConfig.
        control_period_ns: of the loop that takes the chunks.
        wrap_policy: as in SessionConfig.
    """

    bundle: str
    backend: str
    provider: str | None
    threads: int
    seed: int
    arm: int
    frame_periods_ns: tuple[int, ...]
    grip: Grip | None
    chunking: str
    acts_per_look: int
    control_period_ns: int
    wrap_policy: PolicyWrapper | None = None
