"""Distill the action head: in, the teacher's head and tokens; out, a head of the same size with fewer sampling steps.

The student is regressed on where the teacher's sampler ends from the same noise, under random prefixes. Unlike a target
of consistency or progressive distillation this keeps the map from noise to actions, so modes stay apart; two steps are
the least that see a prefix (docs/distillation.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.curve import Curve
from vpp_edge.export.distill.draws import chosen_rows, standard_normal
from vpp_edge.export.distill.loop import Schedule, Trainer, train
from vpp_edge.export.distill.prefixes import random_prefixes
from vpp_edge.model.head import ActionHead
from vpp_edge.model.sampler import SAMPLER_FUNCTIONS, pulled


@dataclass(frozen=True)
class Seen:
    """What the head sees of N observations.

    Attributes:
        tokens: (N, L, D) float16 or float32, from the teacher.
        goals: (N, G) float32.
        proprio: (N, 1, P) float32, normalized; None for policies without a state.
    """

    tokens: Tensor
    goals: Tensor
    proprio: Tensor | None


@dataclass(frozen=True)
class Sampler:
    """How a head samples: noise levels, the last one 0, the name of the algorithm, and how often a step pulls."""

    sigmas: tuple[float, ...]
    name: str = "ddim"
    prefix_pulls: int = 1

    def chunks(self, head: ActionHead, context: Tensor, *, noise: Tensor, prefix: Tensor, weight: Tensor) -> Tensor:
        """(B, T, A) normalized actions from the encoded context (B, T, D), as the exported stage `act` computes them.

        Args:
            noise, prefix: (B, T, A); weight: (B, T).
        """

        def denoise(actions: Tensor, sigma: float) -> Tensor:
            return head.denoise(actions, torch.tensor([sigma], dtype=actions.dtype, device=actions.device), context)

        pull = pulled(denoise, prefix, weight, self.prefix_pulls)
        return SAMPLER_FUNCTIONS[self.name](pull, noise * self.sigmas[0], self.sigmas)


def context_of(head: ActionHead, seen: Seen, horizon: int) -> Tensor:
    """(N, T, D): what the decoder sees of each of N observations; causal, so that it sees no more than T of them."""
    return head.encode(seen.tokens.float(), seen.goals, seen.proprio)[:, :horizon]


@torch.no_grad()
def contexts_of(head: ActionHead, parts: Iterable[Seen], horizon: int) -> Tensor:
    """(N, T, D) of all observations, of which only a part is in memory at a time."""
    return torch.cat([context_of(head, part, horizon) for part in parts])


@dataclass(frozen=True)
class HeadLesson:
    """What a student of the action head learns from.

    The encoder sees neither noise nor prefix, so the student's stays the teacher's, and encodes every observation once.

    Attributes:
        contexts: (N, T, D), the observations as the teacher's decoder sees them; `own`: as the student's does.
        of, to: how the teacher and the student sample.
    """

    contexts: Tensor
    own: Tensor
    of: Sampler
    to: Sampler


def distill_head(
    teacher: ActionHead, lesson: HeadLesson, schedule: Schedule, trainer: Trainer
) -> tuple[ActionHead, Curve]:
    """A copy of the teacher's head that samples with `lesson.to` what the teacher samples with `lesson.of`."""
    device = trainer.device
    student = copy.deepcopy(teacher).train().requires_grad_(False)
    for part in (student.decoder, student.sigma_emb, student.action_emb, student.action_pred):
        part.requires_grad_(True)
    teacher.to(device)
    contexts, own = lesson.contexts.to(device), lesson.own.to(device)
    shape = (contexts.shape[1], teacher.action_pred.out_features)

    def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        chosen = torch.tensor(chosen_rows(randoms, len(contexts)), device=device)
        noise, other = (standard_normal(randoms, shape).to(device) for _ in range(2))
        with torch.no_grad():
            context, free = contexts[chosen], torch.zeros(noise.shape[:2], device=device)
            executed = lesson.of.chunks(teacher, context, noise=other, prefix=noise, weight=free)
            prefix, weight = random_prefixes(executed, randoms)
            wanted = lesson.of.chunks(teacher, context, noise=noise, prefix=prefix, weight=weight)
        found = lesson.to.chunks(student, own[chosen], noise=noise, prefix=prefix, weight=weight)
        return (found - wanted).square().mean()

    curve = train("head", {"head": student}, loss_of, schedule=schedule, trainer=trainer)
    teacher.cpu()
    return student.cpu().eval().requires_grad_(False), curve
