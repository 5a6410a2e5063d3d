"""Summarize the results of many episodes: success rate with its interval, times and smoothness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.runtime.sim.lockstep import STOPPED
from vpp_edge.workflow.closed_loop.evaluation import EpisodeResult

SUCCESS, WRONG, TIMEOUT = "success", "wrong button", "out of time"  # and STOPPED


@dataclass(frozen=True)
class Spread:
    """Mean and 95th percentile; None without values."""

    mean: float | None
    p95: float | None

    def to_json(self) -> dict[str, float | None]:
        return {"mean": self.mean, "p95": self.p95}


@dataclass(frozen=True)
class ClosedLoopSummary:
    """All episodes of one evaluation together.

    Attributes:
        verdicts: number of episodes by verdict; `by_colour`: the same per requested button.
        press_s: median and 90th percentile of the time to a success; None without one.
        wrist_jerk_m_s3, joint_jerk_rad_s3: of the commands, over all ticks.
        seams: number of chunks that replaced an unfinished one, with their jumps in `seam_wrist_m`, `seam_turn_rad` and
            `seam_joint_rad`.
        inferences: per episode, on average; `inference_ms`: median. 0 and None for players without inference.
        stop_reasons: number of episodes that the control loop stopped, by reason.
    """

    verdicts: dict[str, int]
    by_colour: dict[str, dict[str, int]]
    press_s: tuple[float, float] | None
    wrist_jerk_m_s3: Spread
    joint_jerk_rad_s3: Spread
    seams: int
    seam_wrist_m: Spread
    seam_turn_rad: Spread
    seam_joint_rad: Spread
    inferences: float
    inference_ms: float | None
    stop_reasons: dict[str, int]

    @property
    def rate(self) -> SuccessRate:
        return SuccessRate(self.verdicts[SUCCESS], sum(self.verdicts.values()))

    def to_json(self) -> dict[str, Any]:
        """Plain values; all but `inference_ms` are independent of the speed of the machine."""
        press = dict(zip(("median", "p90"), self.press_s or (None, None), strict=True))
        return {
            **self.rate.to_json(),
            "wrong": self.verdicts[WRONG],
            "timeouts": self.verdicts[TIMEOUT],
            "stopped": self.verdicts[STOPPED],
            "stop_reasons": self.stop_reasons,
            "by_colour": self.by_colour,
            "press_s": press,
            "jerk": {"wrist_m_s3": self.wrist_jerk_m_s3.to_json(), "joints_rad_s3": self.joint_jerk_rad_s3.to_json()},
            "seam": {
                "count": self.seams,
                "wrist_m": self.seam_wrist_m.to_json(),
                "turn_rad": self.seam_turn_rad.to_json(),
                "joints_rad": self.seam_joint_rad.to_json(),
            },
            "inferences": self.inferences,
            "inference_ms": self.inference_ms,
        }


def summary_of(results: Sequence[EpisodeResult]) -> ClosedLoopSummary:
    """The summary of at least one episode."""
    pressed_s = [r.seconds for r in results if r.verdict == SUCCESS]
    jerks, seams = np.concatenate([r.jerks for r in results]), np.concatenate([r.seams for r in results])
    durations_ns = [duration for r in results for duration in r.inference_ns]
    colours = sorted({r.colour for r in results})
    return ClosedLoopSummary(
        verdicts=_verdicts(results),
        by_colour={colour: _verdicts([r for r in results if r.colour == colour]) for colour in colours},
        press_s=(float(np.median(pressed_s)), float(np.percentile(pressed_s, 90))) if pressed_s else None,
        wrist_jerk_m_s3=_spread(jerks[:, 0]),
        joint_jerk_rad_s3=_spread(jerks[:, 1]),
        seams=len(seams),
        seam_wrist_m=_spread(seams[:, 0]),
        seam_turn_rad=_spread(seams[:, 1]),
        seam_joint_rad=_spread(seams[:, 2]),
        inferences=len(durations_ns) / len(results),
        inference_ms=float(np.median(durations_ns)) / 1e6 if durations_ns else None,
        stop_reasons=dict(Counter(_kind(r.stopped) for r in results if r.stopped).most_common()),
    )


def _verdicts(results: Sequence[EpisodeResult]) -> dict[str, int]:
    counts = Counter(r.verdict for r in results)
    return {verdict: counts[verdict] for verdict in (SUCCESS, WRONG, TIMEOUT, STOPPED)}


def _kind(stopped: str) -> str:
    """`fault: KIND: details: ...` without its details, so that stops of the same kind are counted together."""
    return stopped.removeprefix("fault: ").split(":")[0]


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.mean()), float(np.percentile(values, 95))) if len(values) else Spread(None, None)
