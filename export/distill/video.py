"""Distill the video model: in, a student at its start and the teacher's outputs; out, networks that act alike.

The student's features, read through a linear projector, imitate the teacher's; its tokens do too, and what the
teacher's action head makes of them. Features alone give the better likeness and the worse policy; without them, tokens
and actions learn slowly (docs/distillation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vpp_edge.checkpoint.model_configs import feature_channels
from vpp_edge.export.distill.curve import Curve
from vpp_edge.export.distill.draws import chosen_rows, standard_normal
from vpp_edge.export.distill.head import Seen, context_of
from vpp_edge.export.distill.loop import Schedule, Trainer, train
from vpp_edge.export.distill.observations import Observations, head_columns
from vpp_edge.model.former import tokens_from_views
from vpp_edge.model.head import ActionHead
from vpp_edge.model.tvp import VideoPredictionModel
from vpp_edge.spec.policy import PolicySpec

BALANCED = 50  # steps from one balance of the losses to the next
STANDARDIZED = 64  # observations that the teacher's features are standardized over
FITTED = 16  # observations that the projector is fitted to at the start
RIDGE = 1e-4
# Noise levels at which actions are compared, as shares of the highest: there only tokens and goal say where to go; and
# near the clean actions.
LEVELS = (1.0, 1 / 256)
_FEATURES = ("features", "scales", "text_hidden", "latents")


class VideoStudent(nn.Module):
    """The student in training. Its Video Former still reads features of the teacher's channels.

    Args:
        video: reads images and noise.
        former: starts as the teacher's, cut to the student's frames.
        mean, deviation: (C,) of the teacher's features; spread: mean variance of its tokens; latent_variance: (4,).
    """

    def __init__(
        self,
        video: VideoPredictionModel,
        former: nn.Module,
        *,
        mean: Tensor,
        deviation: Tensor,
        spread: Tensor,
        latent_variance: Tensor,
    ) -> None:
        super().__init__()
        self.video, self.former = video, former
        channels = video.unet.config.block_out_channels
        given = feature_channels(channels, video.extract_layer, video.all_layers)
        self.projector = nn.Linear(given, len(mean))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("spread", spread)
        self.register_buffer("latent_variance", latent_variance)
        self.register_buffer("balance", torch.ones(2))  # factors of the losses of tokens and actions

    def features(self, latents: Tensor, text_hidden: Tensor, noise: Tensor) -> Tensor:
        """(B, V, F', C', h', w') from latents (B, V, 4, h, w), text (B, 20, S) and noise (B, V, F', 4, h, w)."""
        count, views, frames = noise.shape[:3]
        images = latents[:, :, None].expand(-1, -1, frames, -1, -1, -1)
        noisy = noise * (self.video.init_noise_sigma * self.video.input_scale)
        sample = torch.cat([noisy, images], dim=3).flatten(0, 1)
        features = self.video.features(sample, text_hidden.repeat_interleave(views, dim=0))
        return features.unflatten(0, (count, views))

    def standard(self, features: Tensor) -> Tensor:
        """(B, F', V * h' * w', C): the student's features as the teacher's standardized ones."""
        return self.projector(tokens_from_views(features))

    def tokens(self, standard: Tensor) -> Tensor:
        """(B, F' * q, D) tokens from features as `standard` gives them."""
        return self.former(standard * self.deviation + self.mean)

    @torch.no_grad()
    def fold_projector(self) -> dict[str, Tensor]:
        """The Video Former's tensors for the student's own channels, the projector folded into its first Linear."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.former.state_dict().items()}
        prefix = "goal_emb.0." if "goal_emb.0.weight" in tensors else ""
        weight, bias = tensors[f"{prefix}weight"].double(), tensors[f"{prefix}bias"].double()
        scaled = weight * self.deviation.double()
        tensors[f"{prefix}weight"] = (scaled @ self.projector.weight.double()).float()
        shift = scaled @ self.projector.bias.double() + weight @ self.mean.double()
        tensors[f"{prefix}bias"] = (bias + shift).float()
        return tensors


@dataclass(frozen=True)
class VideoLesson:
    """What a student of the video model learns from.

    Attributes:
        observations: the teacher's outputs.
        spec: of the teacher.
        head: the teacher's action head.
        stride: the student's frames are every `stride`-th of the teacher's.
        own_encoder: the student has an image encoder of its own.
    """

    observations: Observations
    spec: PolicySpec
    head: ActionHead
    stride: int
    own_encoder: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the observations, those that the lesson needs."""
        return (*_FEATURES, *head_columns(self.spec), "actions", *(("frames",) if self.own_encoder else ()))

    def rows(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """The columns of these observations, and the `noise` (B, V, F', 4, h, w) of the student's frames.

        Of features that are kept for more frames than the student's, its own.
        """
        noise, _ = self.observations.noise(chosen, self.spec, self.stride)
        rows = self.observations.rows(chosen, self.columns)
        kept = rows["features"].shape[2]
        return {**rows, "features": rows["features"][:, :, :: kept // noise.shape[2]], "noise": noise}

    def student_tokens(self, tokens: Tensor) -> Tensor:
        """(B, F' * q, D): those of the student's frames, of the teacher's (B, F * q, D)."""
        return tokens.unflatten(1, (self.spec.frames, -1))[:, :: self.stride].flatten(1, 2)


def student_in_training(lesson: VideoLesson, video: VideoPredictionModel, former: nn.Module) -> VideoStudent:
    """The student with standardized features of its teacher, and its projector fitted to them."""
    rows = lesson.rows(range(min(STANDARDIZED, len(lesson.observations))))
    taught = _dequantized(rows).flatten(0, -2)
    student = VideoStudent(
        video,
        former,
        mean=taught.mean(0),
        deviation=taught.std(0).clamp_min(1e-6),
        spread=rows["tokens"].float().var(dim=0).mean(),
        latent_variance=rows["latents"].float().var(dim=(0, 1, 3, 4)).clamp_min(1e-12),
    )
    with torch.no_grad():
        _fit_projector(student, {name: tensor[:FITTED] for name, tensor in rows.items()})
    student.train().requires_grad_(True)
    student.video.encoder.requires_grad_(lesson.own_encoder)
    return student


def distill_encoder(student: VideoStudent, lesson: VideoLesson, schedule: Schedule, trainer: Trainer) -> Curve:
    """Trains the student's image encoder alone, in place, on the teacher's latents."""
    student.to(trainer.device)

    def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        chosen = chosen_rows(randoms, len(lesson.observations))
        rows = lesson.observations.rows(chosen, ("frames", "latents"))
        return _own_latents(student, {name: tensor.to(trainer.device) for name, tensor in rows.items()})[1]

    return train("encoder", {"encoder": student.video.encoder}, loss_of, schedule=schedule, trainer=trainer)


def distill_video(
    student: VideoStudent,
    lesson: VideoLesson,
    schedule: Schedule,
    trainer: Trainer,
    judge: Callable[[], float] | None = None,
) -> Curve:
    """Trains the student in place.

    Args:
        judge: as for `train`.
    """
    lesson.head.requires_grad_(False).to(trainer.device)

    def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        chosen = chosen_rows(randoms, len(lesson.observations))
        rows = {k: v.to(trainer.device) for k, v in lesson.rows(chosen).items()}
        losses, features = student_losses(student, lesson, rows, randoms)
        if step % BALANCED == 0:
            _balance(student, features, losses, trainer)
        weighted = student.balance[0] * losses["tokens"] + student.balance[1] * losses["actions"]
        return losses["features"] + weighted + losses.get("latents", 0.0)

    curve = train("video", {"student": student}, loss_of, schedule=schedule, trainer=trainer, judge=judge)
    lesson.head.cpu()
    student.cpu().eval().requires_grad_(False)
    return curve


def student_losses(
    student: VideoStudent,
    lesson: VideoLesson,
    rows: dict[str, Tensor],
    randoms: Sequence[np.random.Generator],
) -> tuple[dict[str, Tensor], Tensor]:
    """The losses by name, and the student's features.

    Args:
        rows: of the lesson, (B, ...) each; randoms: one for each of them.
    """
    latents, losses = rows["latents"].float(), {}
    if lesson.own_encoder:
        latents, losses["latents"] = _own_latents(student, rows)
    features = student.features(latents, rows["text_hidden"].float(), rows["noise"])
    standard = student.standard(features)
    losses["features"] = (standard - _wanted(student, rows)).square().mean()
    tokens = student.tokens(standard)
    wanted = lesson.student_tokens(rows["tokens"].float())
    losses["tokens"] = (tokens - wanted).square().mean() / student.spread
    losses["actions"] = _action_loss(lesson, rows, tokens, randoms)
    return losses, features


@torch.no_grad()
def student_seen(student: VideoStudent, lesson: VideoLesson, observations: Observations) -> Iterator[Seen]:
    """What the action head sees through the student, shard by shard."""
    device = student.mean.device
    names = ("frames", "text_hidden", *head_columns(lesson.spec)[1:])
    for part in observations.parts():
        rows = {name: tensor.to(device) for name, tensor in observations.rows(part, names).items()}
        latents = student.video.encode_images(rows["frames"].flatten(0, 1)).unflatten(0, rows["frames"].shape[:2])
        noise = observations.noise(part, lesson.spec, lesson.stride)[0].to(device)
        tokens = student.tokens(student.standard(student.features(latents, rows["text_hidden"].float(), noise)))
        yield Seen(tokens=tokens, goals=rows["goals"], proprio=rows.get("proprio"))


def _own_latents(student: VideoStudent, rows: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(B, V, 4, h, w) of the student's image encoder, and its error in units of the variance of the teacher's."""
    wanted = rows["latents"].float()
    own = student.video.encode_images(rows["frames"].flatten(0, 1)).unflatten(0, wanted.shape[:2])
    error = (own - wanted).square().mean(dim=(0, 1, 3, 4)) / student.latent_variance
    return own, error.mean()


def _balance(student: VideoStudent, features: Tensor, losses: dict[str, Tensor], trainer: Trainer) -> None:
    """Weighs tokens and actions so that each changes the features as much as the loss of the features does."""
    names = ("features", "tokens", "actions")
    squares = [torch.autograd.grad(losses[n], features, retain_graph=True)[0].float().square().sum() for n in names]
    norms = trainer.mean(torch.stack(squares)).sqrt()
    student.balance.copy_(norms[0] / norms[1:].clamp_min(1e-12))


def _action_loss(
    lesson: VideoLesson, rows: dict[str, Tensor], tokens: Tensor, randoms: Sequence[np.random.Generator]
) -> Tensor:
    """How far the teacher's head estimates other actions from the student's tokens than from the teacher's."""
    clean = rows["actions"].float()
    noise = standard_normal(randoms, clean.shape[1:]).to(clean.device)
    contexts = [
        context_of(lesson.head, Seen(tokens=each, goals=rows["goals"], proprio=rows.get("proprio")), clean.shape[1])
        for each in (tokens, rows["tokens"])
    ]
    losses = []
    for share in LEVELS:
        level = torch.tensor([share * lesson.spec.sigmas[0]], device=clean.device)
        own, wanted = (lesson.head.denoise(clean + level * noise, level, context) for context in contexts)
        losses.append((own - wanted).square().mean())
    return torch.stack(losses).mean()


def _wanted(student: VideoStudent, rows: dict[str, Tensor]) -> Tensor:
    """(B, F', V * h' * w', C) standardized features of the teacher."""
    return (_dequantized(rows) - student.mean) / student.deviation


def _dequantized(rows: dict[str, Tensor]) -> Tensor:
    """(B, F', V * h' * w', C) features of the teacher."""
    return tokens_from_views(rows["features"].float() * rows["scales"][:, None, None, :, None, None])


def _fit_projector(student: VideoStudent, rows: dict[str, Tensor]) -> None:
    """Ridge regression of the teacher's standardized features on the student's first ones."""
    features = student.features(rows["latents"].float(), rows["text_hidden"].float(), rows["noise"])
    inputs = tokens_from_views(features).flatten(0, -2).double()
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=torch.float64)], dim=1)
    outputs = _wanted(student, rows).flatten(0, -2).double()
    products = inputs.T @ inputs
    products += RIDGE * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
    solution = torch.linalg.solve(products, inputs.T @ outputs)
    student.projector.weight.copy_(solution[:-1].T)
    student.projector.bias.copy_(solution[-1])
