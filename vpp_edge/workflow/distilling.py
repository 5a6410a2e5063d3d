"""Make a student of a trained policy: a checkpoint in the same format that needs less work.

In: a checkpoint and recordings of the robot. Out: a checkpoint folder that `export` takes like any other, with a card
of what the student kept, measured on recordings that it was not trained on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpp_edge.bundle.manifest import file_record
from vpp_edge.calibration.datasets import Recording
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.reader import Checkpoint, read_checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import Executor
from vpp_edge.export.distill.accelerating import open_trainer, process_rank
from vpp_edge.export.distill.head import HeadLesson, Sampler, contexts_of, distill_head
from vpp_edge.export.distill.loop import Schedule
from vpp_edge.export.distill.measures import (
    HeadMeasures,
    PhysicalMeasures,
    measure_head,
    measure_physically,
)
from vpp_edge.export.distill.observations import Observations
from vpp_edge.export.distill.plan import bytes_of_observation, check_room
from vpp_edge.export.distill.student import student_stride
from vpp_edge.export.distill.student_sampler import student_sampler
from vpp_edge.export.distill.student_spec import StudentSpec, student_spec
from vpp_edge.export.distill.student_writer import Student, write_student
from vpp_edge.export.distill.teacher import SHARD
from vpp_edge.export.distill.video import student_seen
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.writing import write_whole
from vpp_edge.model.head import ActionHead
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted
from vpp_edge.workflow.distill_options import DistillOptions, check_target, work_folder
from vpp_edge.workflow.distilling_video import TrainedVideo, trained_video
from vpp_edge.workflow.lesson_data import training_and_held_out
from vpp_edge.workflow.student_plan import plan_of_student
from vpp_edge.workflow.teaching import Teaching, rows_taken

HEAD_BATCH, HEAD_RATE = 64, 3e-4
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class StudentCard:
    """Where a student comes from and what it kept; stored in its arguments as `distilled`.

    Attributes:
        teacher_sha256: of the teacher's policy file.
        student: the specification of its video model; None: the teacher's.
        sigmas: the student's noise levels.
        prefix_pulls: how often one of its steps pulls to a prefix.
        data, held_out: what it was trained and measured on, in words.
        cost: operations and predicted latency beside the teacher's, as in `student_plan`; None with its video model.
        token_error: rms error of its tokens, over that of the teacher's mean; None with the teacher's video model.
        measures, physical: on the held-out observations.
    """

    teacher_sha256: str
    student: StudentSpec | None
    head_steps: int
    sigmas: tuple[float, ...]
    prefix_pulls: int
    training: dict[str, Any]
    data: str
    held_out: str
    cost: dict[str, Any] | None
    token_error: float | None
    measures: HeadMeasures
    physical: PhysicalMeasures

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return data


@dataclass(frozen=True)
class Reports:
    """Who is told about a distillation: `progress` of its stages, `note` of the losses, in words."""

    progress: ProgressCallback = ignore_progress
    note: Callable[[str], object] = lambda text: None


def distill(
    paths: CheckpointPaths,
    target: Path,
    options: DistillOptions,
    reports: Reports = Reports(),
    executor: Executor | None = None,
) -> StudentCard | None:
    """Makes a student of a checkpoint and writes it to `target`.

    Every process that a launcher started calls this; all but the first return None.

    Args:
        executor: computes what the teacher sees; None: this process does.

    Raises:
        CheckpointError: the checkpoint is not usable.
        BadInputError: the target exists, the specification or the data set does not fit the policy, memory or disk are
            too small, or settings changed before a resume.
        VppEdgeError: a worker died or failed.
    """
    reports.progress("read", 0)
    if process_rank() == 0:
        check_target(target, options.resume)
    student = student_spec(options.student) if options.student else None
    training, judging = training_and_held_out(options.datasets, options.views)
    checkpoint = read_checkpoint(paths, options.choices)
    work, settings = work_folder(target), _settings(checkpoint, options, student)
    trainer = open_trainer(options.training, folder=work, seed=options.seed, report=reports.progress, note=reports.note)
    trainer.parts(HEAD_BATCH)
    trainer.parts(options.training.batch)
    stride = None if student is None else student_stride(checkpoint, student)
    each = bytes_of_observation(checkpoint, stride)
    count = rows_taken(training, options.observations) + rows_taken(judging, options.held_out)
    reports.note(
        f"the teacher's outputs take {each / 2**20:.2f} MiB an observation, {count * each / 2**30:.2f} GiB in all"
    )
    check_room(target.absolute().parent, count * each, options.disk_limit_gib)
    if trainer.rank == 0:
        work.mkdir(parents=True, exist_ok=True)
        _keep_settings(work, settings)
    policy = policy_from_checkpoint(checkpoint)
    teaching = Teaching(
        checkpoint=checkpoint,
        choices=options.choices,
        policy=policy,
        datasets=options.datasets,
        folder=work,
        executor=executor,
        stride=stride,
        part=(trainer.rank, trainer.processes),
        report=reports.progress,
    )
    learnt = teaching.observations("teacher", training, options.observations, options.seed)
    judged = teaching.observations("held-out", judging, options.held_out, options.seed + 1)
    trainer.wait()
    video = None
    if student is not None:
        video = trained_video(
            checkpoint, student, policy.head, learnt=learnt, judged=judged, options=options.training, trainer=trainer
        )
        reports.progress("student", 0)
    lessons = _head_lessons(checkpoint, policy.head, video, learnt=learnt, judged=judged, options=options)
    schedule = Schedule(steps=options.training.head_steps, rate=HEAD_RATE, batch=HEAD_BATCH)
    head = distill_head(policy.head, lessons[0], schedule, trainer)
    if trainer.rank != 0:
        return None
    reports.progress("measure", 0)
    sampler = lessons[1].to
    card = StudentCard(
        teacher_sha256=settings["teacher_sha256"],
        student=student,
        head_steps=options.head_steps,
        sigmas=sampler.sigmas,
        prefix_pulls=sampler.prefix_pulls,
        training={**asdict(options.training), "seed": options.seed},
        data=_words(training, len(learnt)),
        held_out=_words(judging, len(judged)),
        cost=None if student is None else plan_of_student(checkpoint, student, head_steps=options.head_steps).to_json(),
        token_error=None if video is None else video.token_error(judged),
        measures=measure_head(policy.head, head, lessons[1], options.seed + 2),
        physical=measure_physically(policy.head, head, lessons[1], checkpoint.spec, seed=options.seed + 3),
    )
    reports.progress("write", 0)
    write_student(checkpoint, _student(checkpoint, video, head, card), target)
    shutil.rmtree(work)
    return card


def _head_lessons(
    checkpoint: Checkpoint,
    head: ActionHead,
    video: TrainedVideo | None,
    *,
    learnt: Observations,
    judged: Observations,
    options: DistillOptions,
) -> tuple[HeadLesson, HeadLesson]:
    """What the head is trained and measured on: through the student's video model where it has one of its own."""
    spec = checkpoint.spec
    of, horizon = Sampler(spec.sigmas, spec.sampler), spec.action.horizon
    contexts = [contexts_of(head, each.seen(spec), horizon) for each in (learnt, judged)]
    own = contexts
    if video is not None:
        seen = (student_seen(video.student, video.lesson, each) for each in (learnt, judged))
        own = [contexts_of(head, each, horizon) for each in seen]
    to = student_sampler(head, of, contexts[0], steps=options.head_steps, seed=options.seed)
    first, second = (
        HeadLesson(contexts=taught, own=mine, of=of, to=to) for taught, mine in zip(contexts, own, strict=True)
    )
    return first, second


def _student(checkpoint: Checkpoint, video: TrainedVideo | None, head: ActionHead, card: StudentCard) -> Student:
    sampler = checkpoint.config.sampler
    model: dict[str, Any] = {
        "num_sampling_steps": card.head_steps,
        "sigma_min": card.sigmas[-2] if card.head_steps > 1 else sampler.sigma_min,
        "sampler_type": "ddim",
    }
    parts = (checkpoint.unet, checkpoint.vae, checkpoint.former)
    if video is not None:
        config = video.start.config
        model |= {"Former_num_time_embeds": config.former.frames, "extract_layer_idx": config.extract_layer}
        if config.former.kind != "linear":
            model["num_latents"] = config.former.frames * config.former.queries_per_frame
        parts = (video.unet(), video.vae(), video.student.fold_projector())
    unet, vae, former = parts
    return Student(unet=unet, vae=vae, former=former, head=head.state_dict(), model=model, card=card.to_json())


def _settings(checkpoint: Checkpoint, options: DistillOptions, student: StudentSpec | None) -> dict[str, Any]:
    """What must not change between the parts of one run."""
    training = asdict(options.training)
    for name in ("accumulate", "log_with"):  # which change no result, or no more than rounding
        del training[name]
    settings = {
        "teacher_sha256": file_record(checkpoint.paths.policy).sha256,
        "datasets": [str(dataset.resolve()) for dataset in options.datasets],
        "choices": asdict(options.choices),
        "views": list(options.views),
        "student": None if student is None else asdict(student),
        "head_steps": options.head_steps,
        "observations": options.observations,
        "held_out": options.held_out,
        "shard": SHARD,
        **{f"training.{name}": value for name, value in training.items()},
        "seed": options.seed,
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _keep_settings(work: Path, settings: dict[str, Any]) -> None:
    path = work / _SETTINGS
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=1))
        return
    before = read_json_file(path, "the settings of an unfinished distillation")
    changed = [name for name, value in settings.items() if before.get(name) != value]
    if changed:
        words = ", ".join(f"{name} was {before.get(name)}, is {settings[name]}" for name in changed)
        raise BadInputError(f"{work}: begun with other settings ({words}); repeat those, or remove the folder")


def _words(recordings: Sequence[Recording], count: int) -> str:
    return f"{counted(count, 'observation')} of {counted(len(recordings), 'recording')}"
