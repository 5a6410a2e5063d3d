"""Distill the video model of a policy: in, its outputs for many observations; out, a smaller one that acts like it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from vpp_edge.checkpoint.parts import ModelPart
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.curve import Curve
from vpp_edge.export.distill.head import Sampler, contexts_of
from vpp_edge.export.distill.loop import Schedule, Trainer
from vpp_edge.export.distill.observations import Observations
from vpp_edge.export.distill.plan import activation_bytes, bytes_of_training
from vpp_edge.export.distill.sparsity import SparseTraining
from vpp_edge.export.distill.student import StudentStart, former_start, student_start
from vpp_edge.export.distill.student_spec import FULL, StudentSpec
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.export.distill.video import (
    VideoLesson,
    VideoStudent,
    distill_encoder,
    distill_video,
    student_in_training,
    student_losses,
    student_seen,
)
from vpp_edge.machine_limits import memory_sizes_bytes
from vpp_edge.model.former import video_former
from vpp_edge.model.head import ActionHead

ENCODER_RATE = 3.0  # of the learning rate: an image encoder that is trained alone takes a higher one


@dataclass(frozen=True)
class TrainedVideo:
    """A trained student of the video model, what it was trained on, and the curves of its trainings by name."""

    start: StudentStart
    student: VideoStudent
    lesson: VideoLesson
    curves: Mapping[str, Curve]

    def unet(self) -> ModelPart:
        """Configuration and weights of its UNet."""
        return ModelPart(self.start.unet.config, self.student.video.unet.state_dict())

    def vae(self) -> ModelPart:
        """Configuration and weights of its image encoder."""
        if not self.lesson.own_encoder:
            return self.start.vae
        return ModelPart(self.start.vae.config, self.student.video.encoder.vae_tensors())

    @torch.no_grad()
    def token_error(self, judged: Observations) -> float:
        """Rms error of the tokens of held-out observations, over that of the mean of the training's tokens."""
        mean = self._mean_tokens()
        own, guess = 0.0, 0.0
        for taught, seen in zip(
            judged.seen(self.lesson.spec), student_seen(self.student, self.lesson, judged), strict=True
        ):
            wanted = self.lesson.student_tokens(taught.tokens.float())
            own += float((seen.tokens - wanted).square().sum())
            guess += float((mean - wanted).square().sum())
        return math.sqrt(own / max(guess, 1e-12))

    def _mean_tokens(self) -> torch.Tensor:
        total, count = torch.zeros(()), 0
        for seen in self.lesson.observations.seen(self.lesson.spec):
            tokens = self.lesson.student_tokens(seen.tokens.float())
            total, count = total + tokens.sum(0), count + len(tokens)
        return total / count


def trained_video(
    checkpoint: Checkpoint,
    spec: StudentSpec,
    head: ActionHead,
    *,
    learnt: Observations,
    judged: Observations,
    options: TrainingOptions,
    trainer: Trainer,
) -> TrainedVideo:
    """A student of the checkpoint's video model.

    Args:
        head: the teacher's action head.
        learnt, judged: observations to train on, and held-out ones.

    Raises:
        BadInputError: the specification does not fit, or the memory is too small.
    """
    start = student_start(checkpoint, spec)
    lesson = VideoLesson(
        observations=learnt, spec=checkpoint.spec, head=head, stride=start.stride, own_encoder=spec.encoder.kind != FULL
    )
    former = video_former(start.config.former, former_start(checkpoint.former, start.stride))
    student = student_in_training(lesson, start.video_model(checkpoint.scheduler), former)
    if options.gradient_checkpointing:
        student.video.unet.enable_gradient_checkpointing()
    _check_memory(student, lesson, options, trainer)
    schedule = Schedule(
        steps=options.steps,
        rate=options.rate,
        batch=options.batch,
        optimizer=options.optimizer,
        patience=options.patience,
    )
    curves = {}
    if lesson.own_encoder:
        alone = replace(schedule, rate=ENCODER_RATE * options.rate, patience=0)
        curves["encoder"] = distill_encoder(student, lesson, alone, trainer)
    sparse = SparseTraining(student.video.unet, student.video.encoder) if options.sparse else None
    curves["video"] = distill_video(
        student, lesson, schedule, trainer, judge=lambda: action_error(student, lesson, judged)
    )
    if sparse is not None:
        sparse.finish()
    return TrainedVideo(start=start, student=student, lesson=lesson, curves=curves)


@torch.no_grad()
def action_error(student: VideoStudent, lesson: VideoLesson, judged: Observations) -> float:
    """Rms error of normalized actions that the teacher's head makes of the student's tokens, same noise, no prefix."""
    horizon, _ = lesson.spec.chunk_shape
    contexts = contexts_of(lesson.head, student_seen(student, lesson, judged), horizon)
    everything = range(len(judged))
    noise = judged.noise(everything, lesson.spec)[1].to(contexts.device)
    sampler = Sampler(lesson.spec.sigmas, lesson.spec.sampler)
    free = torch.zeros(noise.shape[:2], device=noise.device)
    found = sampler.chunks(lesson.head, contexts, noise=noise, prefix=noise, weight=free)
    wanted = judged.rows(everything, ("actions",))["actions"].float().to(noise.device)
    return float((found - wanted).square().mean().sqrt())


def _check_memory(student: VideoStudent, lesson: VideoLesson, options: TrainingOptions, trainer: Trainer) -> None:
    """Raises BadInputError where a training step needs more memory than there is, before it is taken."""
    rows = max(1, options.batch // (trainer.processes * trainer.accumulate))
    activations = _activations_of_a_row(student, lesson)
    needed = bytes_of_training(student, activations, rows, options.optimizer)
    if trainer.device.type == "cuda":
        free = torch.cuda.mem_get_info(trainer.device)[0]
    else:
        free = memory_sizes_bytes().get("MemAvailable", needed)
    if needed > free:
        raise BadInputError(
            f"training takes about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free: weights and optimizer take "
            f"{(needed - rows * activations) / 2**30:.1f}, each of {rows} observations that are computed at once "
            f"{activations / 2**30:.2f}; use a smaller --batch, more --accumulate, or --gradient-checkpointing"
        )


def _activations_of_a_row(student: VideoStudent, lesson: VideoLesson) -> int:
    """Counted on the meta device, where nothing is computed."""
    weightless = copy.deepcopy(student).to("meta")
    head = copy.deepcopy(lesson.head).to("meta")
    rows = {name: tensor.to("meta") for name, tensor in lesson.rows([0]).items()}

    def loss() -> torch.Tensor:
        of_lesson = replace(lesson, head=head)
        losses, _ = student_losses(weightless, of_lesson, rows, [np.random.default_rng(0)])
        return torch.stack(list(losses.values())).sum()

    return activation_bytes(loss, weightless)
