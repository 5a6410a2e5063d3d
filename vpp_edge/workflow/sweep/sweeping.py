"""Sweep students of a policy: in, a checkpoint, recordings and axes; out, a folder of bundles and a point for each.

What is many independent tasks goes through an executor: what the teacher sees, the students, and the episodes.
Everything that is complete stays in the folder, so an interrupted sweep goes on, and a larger one starts from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import Executor, Needs
from vpp_edge.export.distill.plan import bytes_of_observation, check_room
from vpp_edge.export.distill.student import student_configs, student_stride
from vpp_edge.export.distill.student_spec import StudentSpec
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ProgressCallback
from vpp_edge.runtime.sim.mujoco_import import import_mujoco
from vpp_edge.workflow.closed_loop.players import check_drives_sim_hand
from vpp_edge.workflow.distilling import Reports, settings_of, words_of
from vpp_edge.workflow.kept_settings import SETTINGS, keep_settings
from vpp_edge.workflow.lesson_data import training_and_held_out
from vpp_edge.workflow.sweep.making import Course, Maker, open_course
from vpp_edge.workflow.sweep.measuring import measured_points
from vpp_edge.workflow.sweep.options import SweepOptions
from vpp_edge.workflow.sweep.points import Point
from vpp_edge.workflow.teaching import Teaching, gpu_or_cpu, observations_taken, weight_bytes

_TRAINED_COPIES = 6  # of the teacher's weights, at most: a student as large as it, its gradient, moments and averages


def progress_stages(options: SweepOptions, students: int) -> list[tuple[str, float]]:
    """(stage of the progress display, seconds on two cores for the demo policy)."""
    axes, distill = options.axes, options.distill
    bundles = (1 + students * len(axes.head_steps)) * len(axes.precision)
    training = 0.6 * distill.training.steps + 0.3 * distill.training.head_steps * len(axes.head_steps)
    played = 0 if options.playing is None else options.playing.episodes * bundles * len(axes.acts_per_look)
    return [
        ("teacher", 0.08 * distill.observations),
        ("held-out", 0.08 * distill.held_out),
        ("students", training * students + 60.0 * bundles),
        ("latency", 0.5 * options.inferences * bundles),
        ("episodes", 1.5 * played),
    ]


def planned_students(teacher: Checkpoint, options: SweepOptions) -> list[StudentSpec]:
    """The specifications of a sweep; of those that are the same for this teacher, the last one.

    Widths are rounded, so a small teacher has the same student at several.

    Raises:
        BadInputError: one does not fit this teacher.
    """
    return list({str(student_configs(teacher, spec)): spec for spec in options.axes.students(options.base)}.values())


def sweep(
    teacher: Checkpoint,
    students: Sequence[StudentSpec],
    folder: Path,
    options: SweepOptions,
    *,
    executor: Executor | None,
    reports: Reports,
) -> list[Point]:
    """Makes every student and measures its bundles.

    Args:
        students: of `planned_students`.
        folder: for everything that is made; on a Ray cluster, one that all nodes see.
        executor: does the work; None: this process, and one process per core for episodes.
        reports: stages as in `progress_stages`.

    Raises:
        BadInputError: the folder exists, the data set does not fit the policy, memory or disk are too small, or
            settings changed before a resume.
        VppEdgeError: a worker died or failed.
    """
    check_folder(folder, options.resume)
    datasets = tuple(dataset.absolute() for dataset in options.distill.datasets)
    options = replace(options, distill=replace(options.distill, datasets=datasets))
    if options.playing is not None:
        import_mujoco()
        check_drives_sim_hand(teacher.spec)
    course = _course(teacher, students, folder.absolute(), options, executor=executor, report=reports.progress)
    pieces = sorted({making.student for making in course.missing()})
    reports.progress("students", 0)
    for done, _ in enumerate(_made(course, teacher, pieces, executor=executor, note=reports.note)):
        reports.progress("students", (done + 1) / len(pieces))
    return measured_points(course, executor, reports.progress)


def check_folder(folder: Path, resume: bool) -> None:
    """Raises BadInputError unless a sweep can be begun or, with `resume`, go on there."""
    if folder.exists() and not resume:
        raise BadInputError(f"{folder} exists; go on with its sweep with --resume, or choose another folder")
    if resume and not folder.exists():
        raise BadInputError(f"--resume: there is no sweep in {folder}")


def _course(
    teacher: Checkpoint,
    students: Sequence[StudentSpec],
    folder: Path,
    options: SweepOptions,
    *,
    executor: Executor | None,
    report: ProgressCallback,
) -> Course:
    """What the students are made of: computes what the teacher sees."""
    distill = options.distill
    stride = math.gcd(*(student_stride(teacher, spec) for spec in students))
    training, judging = training_and_held_out(distill.datasets, distill.views)
    count = observations_taken(teacher.spec, training, judging, distill)
    cache = folder / f"teacher-{stride}"
    check_room(cache, bytes_of_observation(teacher, stride) * count, distill.disk_limit_gib)
    cache.mkdir(parents=True, exist_ok=True)
    settings = settings_of(teacher, distill, options.base)
    keep_settings(folder, settings, "sweep")
    teaching = Teaching(
        checkpoint=teacher,
        policy=policy_from_checkpoint(teacher),
        datasets=distill.datasets,
        choices=distill.choices,
        folder=cache,
        executor=executor,
        stride=stride,
        device=gpu_or_cpu(),
        part=(0, 1),
        report=report,
    )
    learnt = teaching.observations("teacher", training, distill.observations, distill.seed)
    judged = teaching.observations("held-out", judging, distill.held_out, distill.seed + 1)
    return Course(
        paths=teacher.paths.absolute(),
        teacher_sha256=settings["teacher_sha256"],
        teacher_steps=teacher.config.sampler.steps,
        folder=folder,
        students=tuple(students),
        learnt=learnt,
        judged=judged,
        data=words_of(training, len(learnt)),
        held_out=words_of(judging, len(judged)),
        judging=tuple(judging),
        options=options,
    )


def _made(
    course: Course,
    teacher: Checkpoint,
    pieces: Sequence[int],
    *,
    executor: Executor | None,
    note: Callable[[str], object],
) -> Iterator[object]:
    if executor is None:
        return map(Maker(course, teacher, note).make, pieces)
    files = (*course.paths.parts().values(), *course.options.distill.datasets, course.folder / SETTINGS)
    needs = Needs(files=files, memory_bytes=_TRAINED_COPIES * weight_bytes(teacher))
    return executor.results(open_course, (course,), pieces, needs)
