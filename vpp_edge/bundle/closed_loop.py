"""Success in closed loop as a certificate states it: how often the exported policy succeeds, and how often float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vpp_edge.bundle.success_rate import SuccessRate, success_rate_from_json


@dataclass(frozen=True)
class ClosedLoopRecord:
    """Both played the same episodes of the simulated task, with the same noise.

    Attributes:
        task: in words.
        policy, reference: successes of the bundle, and of `reference_name`.
        seed: of `vpp-edge eval`.
    """

    task: str
    policy: SuccessRate
    reference: SuccessRate
    reference_name: str
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `closed_loop_from_json`."""
        return {
            "task": self.task,
            "policy": self.policy.to_json(),
            "reference": self.reference.to_json(),
            "reference_name": self.reference_name,
            "seed": self.seed,
        }


def closed_loop_from_json(data: Any) -> ClosedLoopRecord | None:
    """What `ClosedLoopRecord.to_json` wrote; None where nothing was played.

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
    )
