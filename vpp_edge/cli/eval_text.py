"""An evaluation as `vpp-edge eval` prints it: lines of text, and the facts that --json adds to the summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.engine import PRECISION_FROM_CHECKPOINT
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.wording import counted
from vpp_edge.workflow.closed_loop.bounds import WORLDS_PER_SEED
from vpp_edge.workflow.closed_loop.summary import SUCCESS, TIMEOUT, WRONG

if TYPE_CHECKING:
    from vpp_edge.workflow.closed_loop.evaluation import EvalSettings
    from vpp_edge.workflow.closed_loop.players import PlayerChoice
    from vpp_edge.workflow.closed_loop.summary import ClosedLoopSummary, Spread


def facts_of(choice: PlayerChoice, settings: EvalSettings) -> dict[str, Any]:
    """The settings of an evaluation as plain values. Those of a policy are None for players without one."""
    policy: dict[str, Any] = dict.fromkeys(("bundle", "backend", "precision", "steps", "solver", "frames"))
    if choice.is_bundle:
        manifest = Bundle(Path(choice.policy)).manifest
        spec = manifest.policy
        policy = {
            "bundle": choice.policy,
            "backend": choice.backend if choice.provider is None else f"{choice.backend}/{choice.provider}",
            "precision": PRECISION_FROM_CHECKPOINT.get(choice.backend, manifest.precision),
            "steps": len(spec.sigmas) - 1,
            "solver": spec.sampler,
            "frames": spec.computed_frames or spec.frames,
        }
    return {
        **policy,
        "world": settings.world,
        "seed": settings.seed,
        "first_world": settings.seed * WORLDS_PER_SEED,
        "delay_ms": settings.delay_ns / 1e6,
        "replan_ms": settings.replan_ns / 1e6,
        "chunking": settings.chunking,
        "acts_per_look": settings.acts_per_look,
        "act_delay_ms": settings.act_delay_ns / 1e6,
        "time_limit_s": settings.limit_s,
    }


def lines_of(facts: dict[str, Any], summary: ClosedLoopSummary) -> list[str]:
    """The whole report."""
    how = (
        ""
        if facts["bundle"] is None
        else (
            f" ({facts['precision']}, {counted(facts['steps'], facts['solver'] + ' step')}, "
            f"{counted(facts['frames'], 'frame')}, "
            f"{facts['backend']})"
        )
    )
    press = summary.press_s
    lines = [
        f"{facts['policy']}{how}: {counted(summary.rate.episodes, 'episode')} of {facts['world']}, "
        f"seed {facts['seed']}, a new chunk every {facts['replan_ms']:g} ms, {facts['delay_ms']:g} ms after its "
        f"observation, {facts['chunking']} chunks{_acts(facts)}",
        f"  success         {summary.rate}, 95 % interval",
        f"  wrong button    {summary.verdicts[WRONG]}",
        f"  out of time     {summary.verdicts[TIMEOUT]} (after {facts['time_limit_s']:g} s)",
        *(f"  stopped         {count}: {reason}" for reason, count in summary.stop_reasons.items()),
        *([] if press is None else [f"  time to press   {press[0]:.2f} s median, {press[1]:.2f} s 90th percentile"]),
        f"  by button       {_by_colour(summary)}",
        f"  jerk            wrist {_spread(summary.wrist_jerk_m_s3, 'm/s^3')}; joints "
        f"{_spread(summary.joint_jerk_rad_s3, 'rad/s^3')}",
        f"  seam jump       wrist {_spread(summary.seam_wrist_m, 'mm', 1000)}; joints "
        f"{_spread(summary.seam_joint_rad, 'rad')}; {counted(summary.seams, 'seam')}",
    ]
    if summary.inference_ms is not None:
        lines.append(f"  inference       {summary.inferences:.1f} an episode, {summary.inference_ms:.1f} ms median")
    return lines


def _acts(facts: dict[str, Any]) -> str:
    """How many chunks an observation gives, if more than one."""
    acts = facts["acts_per_look"]
    return (
        "" if acts == 1 else f", {acts} per observation, the later ones {facts['act_delay_ms']:g} ms after their state"
    )


def _by_colour(summary: ClosedLoopSummary) -> str:
    return ", ".join(
        f"{colour} {counts[SUCCESS]}/{sum(counts.values())}" + (f" ({counts[WRONG]} wrong)" if counts[WRONG] else "")
        for colour, counts in summary.by_colour.items()
    )


def _spread(spread: Spread, unit: str, factor: float = 1) -> str:
    if spread.mean is None or spread.p95 is None:
        return "-"
    return f"{factor * spread.mean:.3g} mean, {factor * spread.p95:.3g} p95 {unit}"
