"""Closed-loop success rates in a certificate: of the exported policy and of its float32 reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vpp_edge.bundle.success_rate import SuccessRate, success_rate_from_json

FIRST_WORLD, FIRST_CHUNKING = "buttons", "rtc"  # what was played when records did not name it


@dataclass(frozen=True)
class ClosedLoopRecord:
    """Success rates over the same episodes of the simulated task, with the same noise.

    Attributes:
        task: description of the task.
        policy, reference: successes of the bundle, and of `reference_name`.
        seed, world, chunking: of `vpp-edge eval`.
    """

    task: str
    policy: SuccessRate
    reference: SuccessRate
    reference_name: str
    seed: int
    world: str = FIRST_WORLD
    chunking: str = FIRST_CHUNKING

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `closed_loop_from_json`."""
        return {
            "task": self.task,
            "policy": self.policy.to_json(),
            "reference": self.reference.to_json(),
            "reference_name": self.reference_name,
            "seed": self.seed,
            "world": self.world,
            "chunking": self.chunking,
        }


def closed_loop_from_json(data: Any) -> ClosedLoopRecord | None:
    """The record that `ClosedLoopRecord.to_json` wrote; None if no episodes were played.

    Raises KeyError, TypeError, ValueError or BadInputError on anything else.
    """
    if data is None:
        return None
    policy, reference = (success_rate_from_json(data[name]) for name in ("policy", "reference"))
    return ClosedLoopRecord(
        task=str(data["task"]),
        policy=policy,
        reference=reference,
        reference_name=str(data["reference_name"]),
        seed=int(data["seed"]),
        world=str(data.get("world", FIRST_WORLD)),
        chunking=str(data.get("chunking", FIRST_CHUNKING)),
    )
