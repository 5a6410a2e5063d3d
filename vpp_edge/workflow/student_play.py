"""Play a student and its teacher in the same simulated worlds: in, a finished student; out, both success rates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vpp_edge.bundle.closed_loop import ClosedLoopRecord
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.checkpoint.choices import Choices
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.export.distill.student_writer import Student, write_student
from vpp_edge.export.exporter import ExportOptions, export_bundle
from vpp_edge.files.partial import partial_folder
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.runtime.policy.handover_modes import NAIVE, RTC
from vpp_edge.runtime.sim.mujoco_import import import_mujoco
from vpp_edge.spec.instruction import truncation_ignored
from vpp_edge.workflow.closed_loop.certifying import closed_loop_record, success_rate
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings
from vpp_edge.workflow.closed_loop.players import PlayerChoice, check_drives_sim_hand
from vpp_edge.workflow.distill_options import DistillOptions


def play_settings(options: DistillOptions, teacher: Checkpoint, head_steps: int) -> tuple[EvalSettings, ...]:
    """How a student with so many sampling steps and its teacher play, once for each world; empty: not at all.

    Raises:
        BadInputError: the policy cannot drive the simulated hand, or the seed is none of an evaluation.
        MissingDependencyError: there is no simulation on this machine.
    """
    if options.closed_loop is None:
        return ()
    import_mujoco()
    check_drives_sim_hand(teacher.spec)
    # One step cannot follow the chunk that is being executed.
    chunking = NAIVE if 1 in (head_steps, len(teacher.spec.sigmas) - 1) else RTC
    return tuple(
        EvalSettings(options.closed_loop, options.seed, chunking=chunking, world=world) for world in options.worlds
    )


def play_student(
    teacher: Checkpoint,
    student: Student,
    settings: Sequence[EvalSettings],
    folder: Path,
    *,
    choices: Choices,
    report: ProgressCallback = ignore_progress,
) -> tuple[ClosedLoopRecord, ...]:
    """Plays float32 bundles of both, with the same episodes and noise.

    Args:
        choices: how the teacher's checkpoint was read.
        folder: where checkpoint and bundles lie meanwhile; they are removed at the end.
        report: called with (stage, fraction), stages `export student`, `export teacher`, `play`.
    """
    with partial_folder(folder) as work:
        write_student(teacher, student, work / "checkpoint")
        bundles = {}
        sources = {
            "student": (paths_from_folder(work / "checkpoint"), choices.of_student()),
            "teacher": (teacher.paths, choices),
        }
        for who, (paths, read) in sources.items():
            report(f"export {who}", 0)
            with truncation_ignored():  # of the sentence of the parity check
                export_bundle(paths, work / who, ExportOptions(choices=read))
            bundles[who] = PlayerChoice(str(work / who))
        rates: list[SuccessRate] = []

        def played(share: float) -> None:
            report("play", (len(rates) + share) / (2 * len(settings)))

        for each in settings:
            for choice in bundles.values():
                rates.append(success_rate(choice, each, played))
        return tuple(
            closed_loop_record(own, taught, "its teacher", each)
            for own, taught, each in zip(rates[::2], rates[1::2], settings, strict=True)
        )
