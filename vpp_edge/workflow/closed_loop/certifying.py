"""Export a bundle and add the closed-loop success rates of bundle and reference to its certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.closed_loop import ClosedLoopRecord
from vpp_edge.bundle.manifest import Bundle, Manifest
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.checkpoint.choices import Choices
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.export.bundle_writer import rename_bundle, staging_folder, write_certificate
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.runtime.sim.task import instructions_of
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate
from vpp_edge.workflow.closed_loop.players import PlayerChoice, check_drives_sim_hand
from vpp_edge.workflow.closed_loop.summary import summary_of


def progress_stages(settings: EvalSettings) -> tuple[tuple[str, float], ...]:
    """(stage of the progress display, seconds on two cores for a small policy); after those of the export."""
    return ("play", 5.0 * settings.episodes), ("play float32", 15.0 * settings.episodes)


def check_can_play(source: CheckpointPaths | Bundle, choices: Choices) -> None:
    """Raises BadInputError before the export unless the policy can drive the simulated hand."""
    spec = source.manifest.policy if isinstance(source, Bundle) else read_checkpoint(source, choices).spec
    check_drives_sim_hand(spec)


def export_and_play(
    export: Callable[[Path, ProgressCallback], Manifest],
    source: CheckpointPaths | Bundle,
    target: Path,
    settings: EvalSettings,
    overwrite: bool,
    report: ProgressCallback = ignore_progress,
) -> Manifest:
    """Exports to a folder next to `target`, plays, writes the certificate, and only then renames the bundle.

    Args:
        export: writes a bundle to the given folder and reports progress.
        source: what is exported; the reference is this bundle, or the eager model of this checkpoint.
        report: called with (stage, fraction), stages as in `progress_stages`.
    """
    with staging_folder(target) as staging:
        bundle = staging / target.name
        manifest = export(bundle, report)
        record = played(bundle, source, settings, report)
        certificate = replace(certificate_from_json(manifest.certificate), closed_loop=record)
        manifest = write_certificate(bundle, manifest, certificate)
        rename_bundle(bundle, target, overwrite)
        return manifest


def played(
    bundle: Path, source: CheckpointPaths | Bundle, settings: EvalSettings, report: ProgressCallback
) -> ClosedLoopRecord:
    """Success rates of a bundle and of the float32 policy it was made from, over the same episodes."""
    if isinstance(source, Bundle):
        reference, name = PlayerChoice(str(source.path)), "the float32 bundle"
    else:
        reference, name = PlayerChoice(str(bundle), "torch"), "the eager float32 policy"
    found = success_rate(PlayerChoice(str(bundle)), settings, lambda fraction: report("play", fraction))
    expected = success_rate(reference, settings, lambda fraction: report("play float32", fraction))
    return closed_loop_record(found, expected, name, settings)


def success_rate(choice: PlayerChoice, settings: EvalSettings, report: Callable[[float], None]) -> SuccessRate:
    """Plays all episodes; `report` is called with the share of them that was played."""
    results = evaluate(choice, settings, report=lambda stage, fraction: report(fraction))
    return summary_of(results).rate


def closed_loop_record(
    policy: SuccessRate, reference: SuccessRate, reference_name: str, settings: EvalSettings
) -> ClosedLoopRecord:
    """What a policy and its reference did under the same settings."""
    return ClosedLoopRecord(
        task=f'simulated "{instructions_of(settings.kind)[0]}"',
        policy=policy,
        reference=reference,
        reference_name=reference_name,
        seed=settings.seed,
        world=settings.world,
        chunking=settings.chunking,
    )
