"""Make a student of a trained policy: a checkpoint in the same format that needs less work.

In: a checkpoint and recordings of the robot. Out: a checkpoint folder that `export` takes like any other, with a card
of what the student kept, measured on recordings that it was not trained on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vpp_edge.bundle.manifest import file_record
from vpp_edge.calibration.datasets import Recording
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.reader import Checkpoint, read_checkpoint
from vpp_edge.executor.interface import Executor
from vpp_edge.export.distill.accelerating import open_trainer, process_rank
from vpp_edge.export.distill.head import HeadLesson, Sampler, contexts_of, distill_head
from vpp_edge.export.distill.loop import Schedule, Trainer
from vpp_edge.export.distill.measures import measure_head, measure_physically
from vpp_edge.export.distill.observations import Observations
from vpp_edge.export.distill.plan import bytes_of_observation, check_room
from vpp_edge.export.distill.student import student_stride
from vpp_edge.export.distill.student_sampler import student_sampler
from vpp_edge.export.distill.student_spec import StudentSpec, student_spec
from vpp_edge.export.distill.student_writer import Student, write_student
from vpp_edge.export.distill.teacher import SHARD
from vpp_edge.export.distill.video import student_seen
from vpp_edge.model.head import ActionHead
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted
from vpp_edge.workflow.distill_options import DistillOptions, check_target, work_folder
from vpp_edge.workflow.distilling_video import TrainedVideo, trained_video
from vpp_edge.workflow.kept_settings import keep_settings
from vpp_edge.workflow.lesson_data import training_and_held_out
from vpp_edge.workflow.student_card import StudentCard
from vpp_edge.workflow.student_plan import PolicyCost, plan_of_student
from vpp_edge.workflow.student_play import play_settings, play_student
from vpp_edge.workflow.teaching import Teaching, observations_taken

HEAD_BATCH, HEAD_RATE = 64, 3e-4


@dataclass(frozen=True)
class Reports:
    """Who is told about a distillation: `progress` of its stages, `note` of the losses, in words."""

    progress: ProgressCallback = ignore_progress
    note: Callable[[str], object] = lambda text: None


@dataclass(frozen=True)
class Lessons:
    """A teacher, what it made of the recordings, and the student's video model, from which students are made.

    Attributes:
        data, held_out: `learnt` and `judged` in words.
        spec: of the student's video model; None: it is the teacher's.
        teacher_cost: of `cost_of_policy`, where it is known.
        video: the student's, once it is trained.
    """

    checkpoint: Checkpoint
    teacher_sha256: str
    head: ActionHead
    learnt: Observations
    judged: Observations
    data: str
    held_out: str
    options: DistillOptions
    spec: StudentSpec | None
    trainer: Trainer
    teacher_cost: PolicyCost | None = None
    video: TrainedVideo | None = None

    def with_trained_video(self) -> Lessons:
        """With a video model of the specification, trained; the same where there is none."""
        if self.spec is None:
            return self
        video = trained_video(
            self.checkpoint,
            self.spec,
            self.head,
            learnt=self.learnt,
            judged=self.judged,
            options=self.options.training,
            trainer=self.trainer,
        )
        self.trainer.report("student", 0)
        return replace(self, video=video)

    def cost(self, head_steps: int) -> dict[str, Any] | None:
        """Of a student with so many steps, beside the teacher's; None with the teacher's video model."""
        if self.spec is None:
            return None
        plan = plan_of_student(self.checkpoint, self.spec, head_steps=head_steps, teacher_cost=self.teacher_cost)
        return plan.to_json()


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
    # Whether everything fits, before anything is computed or kept.
    play_settings(options, checkpoint, options.head_steps)
    count = observations_taken(checkpoint.spec, training, judging, options)
    work, settings = work_folder(target), settings_of(checkpoint, options, student)
    trainer = open_trainer(options.training, folder=work, seed=options.seed, report=reports.progress, note=reports.note)
    trainer.parts(HEAD_BATCH)
    trainer.parts(options.training.batch)
    stride = None if student is None else student_stride(checkpoint, student)
    each = bytes_of_observation(checkpoint, stride)
    reports.note(
        f"the teacher's outputs take {each / 2**20:.2f} MiB an observation, {count * each / 2**30:.2g} GiB for "
        f"{counted(count, 'observation')}, in {work} until the student is complete"
    )
    check_room(work.absolute(), count * each, options.disk_limit_gib)
    if trainer.rank == 0:
        work.mkdir(parents=True, exist_ok=True)
        keep_settings(work, settings, "distillation")
    policy = policy_from_checkpoint(checkpoint)
    teaching = Teaching(
        checkpoint=checkpoint,
        choices=options.choices,
        policy=policy,
        datasets=options.datasets,
        folder=work,
        executor=executor,
        stride=stride,
        device=trainer.device,
        part=(trainer.rank, trainer.processes),
        report=reports.progress,
    )
    learnt = teaching.observations("teacher", training, options.observations, options.seed)
    judged = teaching.observations("held-out", judging, options.held_out, options.seed + 1)
    trainer.wait()
    lessons = Lessons(
        checkpoint=checkpoint,
        teacher_sha256=settings["teacher_sha256"],
        head=policy.head,
        learnt=learnt,
        judged=judged,
        data=words_of(training, len(learnt)),
        held_out=words_of(judging, len(judged)),
        options=options,
        spec=student,
        trainer=trainer,
    ).with_trained_video()
    card = write_student_with_head(lessons, options.head_steps, target)
    if card is not None:
        shutil.rmtree(work)
    return card


def write_student_with_head(lessons: Lessons, head_steps: int, target: Path) -> StudentCard | None:
    """Trains the action head for so many sampling steps, measures the student and writes it to `target`.

    Every process that a launcher started calls this; all but the first return None.
    """
    checkpoint, options, video = lessons.checkpoint, lessons.options, lessons.video
    trainer = replace(lessons.trainer, folder=lessons.trainer.folder / f"head-{head_steps}")
    if trainer.rank == 0:
        trainer.folder.mkdir(exist_ok=True)
    learning, judging = _head_lessons(lessons, head_steps)
    schedule = Schedule(steps=options.training.head_steps, rate=HEAD_RATE, batch=HEAD_BATCH)
    head, curve = distill_head(lessons.head, learning, schedule, trainer)
    if trainer.rank != 0:
        return None
    trainer.report("measure", 0)
    sampler, seed = judging.to, options.seed
    curves = {**({} if video is None else video.curves), "head": curve}
    card = StudentCard(
        teacher_sha256=lessons.teacher_sha256,
        student=lessons.spec,
        head_steps=head_steps,
        sigmas=sampler.sigmas,
        prefix_pulls=sampler.prefix_pulls,
        training={**asdict(options.training), "seed": seed},
        data=lessons.data,
        held_out=lessons.held_out,
        cost=lessons.cost(head_steps),
        token_error=None if video is None else video.token_error(lessons.judged),
        measures=measure_head(lessons.head, head, judging, seed + 2),
        physical=measure_physically(lessons.head, head, judging, checkpoint.spec, seed=seed + 3),
        curves={name: each.thinned() for name, each in curves.items()},
    )
    student = _student(checkpoint, video, head, card)
    if played := play_settings(options, checkpoint, head_steps):
        folder = trainer.folder / "closed-loop"
        found = play_student(checkpoint, student, played, folder, choices=options.choices, report=trainer.report)
        card = replace(card, closed_loop=found)
        student = replace(student, card=card.to_json())
    trainer.report("write", 0)
    write_student(checkpoint, student, target)
    return card


def _head_lessons(lessons: Lessons, head_steps: int) -> tuple[HeadLesson, HeadLesson]:
    """What the head is trained and measured on: through the student's video model where it has one of its own."""
    spec, head, video = lessons.checkpoint.spec, lessons.head, lessons.video
    of, horizon = Sampler(spec.sigmas, spec.sampler), spec.action.horizon
    contexts = [contexts_of(head, each.seen(spec), horizon) for each in (lessons.learnt, lessons.judged)]
    own = contexts
    if video is not None:
        seen = (student_seen(video.student, video.lesson, each) for each in (lessons.learnt, lessons.judged))
        own = [contexts_of(head, each, horizon) for each in seen]
    to = student_sampler(head, of, contexts[0], steps=head_steps, seed=lessons.options.seed)
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


def settings_of(checkpoint: Checkpoint, options: DistillOptions, student: StudentSpec | None) -> dict[str, Any]:
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


def words_of(recordings: Sequence[Recording], count: int) -> str:
    return f"{counted(count, 'observation')} of {counted(len(recordings), 'recording')}"
