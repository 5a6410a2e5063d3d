"""Make one student of a sweep and its bundles: in, a specification and the teacher's outputs; out, measured errors.

The pieces of work of an executor. Whatever is complete in the folder of the sweep is not made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.calibration.datasets import Recording
from vpp_edge.calibration.samples import numbered_samples
from vpp_edge.checkpoint.paths import CheckpointPaths, paths_from_folder
from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.checkpoint.reader import Checkpoint, read_checkpoint
from vpp_edge.executor.interface import Work
from vpp_edge.export.distill.accelerating import open_trainer
from vpp_edge.export.distill.observations import Observations
from vpp_edge.export.distill.student import student_configs
from vpp_edge.export.distill.student_spec import StudentSpec
from vpp_edge.export.exporter import ExportOptions, export_bundle
from vpp_edge.files.writing import write_whole
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ignore_progress
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.instruction import truncation_ignored
from vpp_edge.workflow.calibration_options import CalibrationOptions
from vpp_edge.workflow.distilling import Lessons, write_student_with_head
from vpp_edge.workflow.exporting import LoweredExport, export_lowered
from vpp_edge.workflow.lowering import LoweringOptions
from vpp_edge.workflow.observations import DataOptions
from vpp_edge.workflow.student_plan import PolicyCost, cost_of_policy
from vpp_edge.workflow.sweep.options import TEACHER, Making, SweepOptions, makings, student_name

FLOAT32 = "fp32"


@dataclass(frozen=True)
class Course:
    """What every student of a sweep is made of; paths are absolute, so that any worker can open them.

    Attributes:
        teacher_steps: of the teacher's head.
        folder: of the sweep.
        students: their specifications.
        learnt, judged: the teacher's outputs, to train and to measure on; `data`, `held_out`: the same in words.
        judging: the recordings of the latter.
    """

    paths: CheckpointPaths
    teacher_sha256: str
    teacher_steps: int
    folder: Path
    students: tuple[StudentSpec, ...]
    learnt: Observations
    judged: Observations
    data: str
    held_out: str
    judging: tuple[Recording, ...]
    options: SweepOptions

    def bundle(self, making: Making) -> Path:
        return self.folder / "bundles" / making.name

    def measures(self, making: Making) -> Path:
        """Where what was measured on the bundle is kept; it exists once the bundle is complete."""
        return self.folder / "bundles" / f"{making.name}.json"

    def checkpoint(self, making: Making) -> CheckpointPaths:
        """Of the policy in a bundle."""
        if making.student == TEACHER:
            return self.paths
        return paths_from_folder(self.student(making.student, making.steps))

    def student(self, number: int, steps: int) -> Path:
        return self.folder / "students" / student_name(self.students[number], steps)

    def makings(self) -> list[Making]:
        return makings(self.students, self.options.axes, self.teacher_steps)

    def missing(self) -> list[Making]:
        """Bundles that are not complete."""
        return [making for making in self.makings() if not self.measures(making).exists()]


def open_course(course: Course) -> Work:
    """A function that makes what is missing of student n, or of the teacher."""
    return Maker(course, read_checkpoint(course.paths, course.options.distill.choices)).make


class Maker:
    """Makes students and bundles in this process.

    Args:
        teacher: its checkpoint.
        note: called with how a training goes, in words.
    """

    def __init__(self, course: Course, teacher: Checkpoint, note: Callable[[str], object] = lambda text: None) -> None:
        self.course, self.teacher, self._note = course, teacher, note

    @cached_property
    def _teacher_cost(self) -> PolicyCost:
        return cost_of_policy(self.teacher)

    def make(self, number: int) -> None:
        """Makes what is missing of student `number`, or of the teacher."""
        course = self.course
        missing = [each for each in course.missing() if each.student == number]
        steps = sorted({making.steps for making in missing})
        if number != TEACHER:
            self._make_students(number, [each for each in steps if not course.student(number, each).exists()])
        for each in steps:
            with truncation_ignored():  # of the sentences of the parity check; the teacher's part told of the others
                self._make_bundles([making for making in missing if making.steps == each])

    def _make_students(self, number: int, steps: list[int]) -> None:
        """Checkpoints of one video model with heads of so many steps.

        The state of its training stays, for heads of other steps.
        """
        if not steps:
            return
        course, options = self.course, self.course.options.distill
        work = course.folder / "students" / f"{course.students[number].name}.distilling"
        work.mkdir(parents=True, exist_ok=True)
        spec = course.students[number]

        def note(text: str) -> None:
            self._note(f"{spec.name}: {text}")

        trainer = open_trainer(options.training, folder=work, seed=options.seed, report=ignore_progress, note=note)
        changed = changes_video(self.teacher, spec)
        lessons = Lessons(
            checkpoint=self.teacher,
            teacher_sha256=course.teacher_sha256,
            head=policy_from_checkpoint(self.teacher).head,
            learnt=course.learnt,
            judged=course.judged,
            data=course.data,
            held_out=course.held_out,
            options=options,
            spec=spec if changed else None,
            trainer=trainer,
            teacher_cost=self._teacher_cost if changed else None,
        ).with_trained_video()
        for each in steps:
            write_student_with_head(lessons, each, course.student(number, each))

    def _make_bundles(self, makings: list[Making]) -> None:
        """Bundles of one checkpoint at several precisions, from one float32 export."""
        course, first = self.course, makings[0]
        paths = course.checkpoint(first)
        plain = course.bundle(replace(first, name=f"{first.name.removesuffix(first.precision)}{FLOAT32}"))
        plain.parent.mkdir(exist_ok=True)
        if not plain.exists():
            choices = course.options.distill.choices
            if first.student != TEACHER:
                choices = choices.of_student()
            export_bundle(paths, plain, ExportOptions(choices=choices))
        for making in makings:
            bundle = course.bundle(making)
            if not bundle.exists():
                export_lowered(self._lowered(plain, making.precision), bundle)
            write_whole(course.measures(making), json.dumps(self._measured(making, paths)))
        if FLOAT32 not in course.options.axes.precision:
            shutil.rmtree(plain)

    def _lowered(self, plain: Path, precision: str) -> LoweredExport:
        options = self.course.options.distill
        return LoweredExport(
            source=Bundle(plain),
            precision=precision,
            data=DataOptions(dataset=options.datasets[0], views=options.views),
            table=None,
            budget=LoweringOptions.budget,
            calibration=CalibrationOptions(),
            export=ExportOptions(),
        )

    def _measured(self, making: Making, paths: CheckpointPaths) -> dict[str, Any]:
        card = {} if making.student == TEACHER else load_policy_file(paths.policy).arguments["distilled"]
        bundle = self.course.bundle(making)
        return {
            "action_rms": action_rms(self.course, bundle, self.teacher),
            "problems": certificate_from_json(Bundle(bundle).manifest.certificate).problems(),
            "token_error": card.get("token_error"),
            "teacher_spread": card.get("measures", {}).get("teacher_spread"),
        }


def changes_video(teacher: Checkpoint, spec: StudentSpec) -> bool:
    """Whether a student has another video model than its teacher. Raises BadInputError if it does not fit."""
    unet, vae, config = student_configs(teacher, spec)
    own = teacher.config
    sizes = ("block_out_channels", "layers_per_block", "num_frames")
    return not (
        all(unet[name] == teacher.unet.config[name] for name in sizes)
        and vae == teacher.vae.config
        and config.former.frames == own.former.frames
        and config.extract_layer == own.extract_layer
    )


def action_rms(course: Course, bundle: Path, teacher: Checkpoint) -> float:
    """Rms error of a bundle's normalized actions against the teacher's in float32, same noise, no prefix."""
    judged = course.judged
    wanted = judged.rows(range(len(judged)), ("actions",))["actions"].float().numpy()
    samples = numbered_samples(teacher.spec, course.judging, len(judged), seed=judged.seed, numbers=range(len(judged)))
    squares = []
    with EdgePolicy.load(bundle) as policy:
        stride = teacher.spec.frames // policy.spec.frames
        for sample, actions in zip(samples, wanted, strict=True):
            policy.instruct(sample.instruction)
            out = policy.infer(
                sample.frames,
                sample.proprio,
                video_noise=sample.video_noise[:, ::stride],
                action_noise=sample.action_noise,
            )
            squares.append(np.square(out.actions[0] - actions).mean())
    return float(np.sqrt(np.mean(squares)))
