"""Distill the action head: in, the teacher's head and tokens; out, a head of the same size with fewer sampling steps.

The student is regressed on where the teacher's sampler ends from the same noise, under random prefixes. Unlike a target
of consistency or progressive distillation this keeps the map from noise to actions, so modes stay apart; two steps are
the least that see a prefix (docs/distillation.md).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.loop import Schedule, Trainer, train
from vpp_edge.export.distill.prefixes import random_prefixes, standard_normal
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

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, chosen: Tensor) -> Seen:
        """The observations with these numbers, in float32."""
        proprio = None if self.proprio is None else self.proprio[chosen]
        return Seen(tokens=self.tokens[chosen].float(), goals=self.goals[chosen], proprio=proprio)

    def repeated(self, times: int) -> Seen:
        """Each observation so many times."""
        proprio = None if self.proprio is None else self.proprio.repeat_interleave(times, 0)
        return Seen(
            tokens=self.tokens.repeat_interleave(times, 0),
            goals=self.goals.repeat_interleave(times, 0),
            proprio=proprio,
        )


@dataclass(frozen=True)
class Sampler:
    """How a head samples: noise levels, the last one 0, the name of the algorithm, and how often a step pulls."""

    sigmas: tuple[float, ...]
    name: str = "ddim"
    prefix_pulls: int = 1

    def actions(self, head: ActionHead, seen: Seen, *, noise: Tensor, prefix: Tensor, weight: Tensor) -> Tensor:
        """(B, T, A) normalized actions, as the exported stage `act` computes them; arguments likewise, B at once."""
        context = context_of(head, seen, noise.shape[1])
        return self.chunks(head, context, noise=noise, prefix=prefix, weight=weight)

    def chunks(self, head: ActionHead, context: Tensor, *, noise: Tensor, prefix: Tensor, weight: Tensor) -> Tensor:
        """The same from the encoded context (B, T, D)."""

        def denoise(actions: Tensor, sigma: float) -> Tensor:
            return head.denoise(actions, torch.tensor([sigma], dtype=actions.dtype, device=actions.device), context)

        pull = pulled(denoise, prefix, weight, self.prefix_pulls)
        return SAMPLER_FUNCTIONS[self.name](pull, noise * self.sigmas[0], self.sigmas)


def context_of(head: ActionHead, seen: Seen, horizon: int) -> Tensor:
    """(N, T, D): what the decoder sees of each of N observations; causal, so that it sees no more than T of them."""
    return head.encode(seen.tokens, seen.goals, seen.proprio)[:, :horizon]


def distill_head(
    teacher: ActionHead,
    seen: Seen,
    *,
    own: Seen | None = None,
    of: Sampler,
    to: Sampler,
    horizon: int,
    schedule: Schedule,
    trainer: Trainer,
) -> ActionHead:
    """A copy of the teacher's head that samples with `to` what the teacher samples with `of`.

    The encoder sees neither noise nor prefix, so it stays the teacher's and encodes every observation once.

    Args:
        seen: observations to train on, as the teacher sees them.
        own: the same as the student sees them; None: as the teacher does.
    """
    device = trainer.device
    student = copy.deepcopy(teacher).train().requires_grad_(False)
    for part in (student.decoder, student.sigma_emb, student.action_emb, student.action_pred):
        part.requires_grad_(True)
    contexts, own_contexts = (_contexts(teacher, s, horizon, schedule.batch).to(device) for s in (seen, own or seen))
    teacher.to(device)
    shape = (horizon, teacher.action_pred.out_features)

    def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        chosen = torch.tensor([int(random.integers(len(seen))) for random in randoms], device=device)
        noise, other = (standard_normal(randoms, shape).to(device) for _ in range(2))
        with torch.no_grad():
            context, free = contexts[chosen], torch.zeros(noise.shape[:2], device=device)
            executed = of.chunks(teacher, context, noise=other, prefix=noise, weight=free)
            prefix, weight = random_prefixes(executed, randoms)
            wanted = of.chunks(teacher, context, noise=noise, prefix=prefix, weight=weight)
        found = to.chunks(student, own_contexts[chosen], noise=noise, prefix=prefix, weight=weight)
        return (found - wanted).square().mean()

    train("head", {"head": student}, loss_of, schedule, trainer)
    teacher.cpu()
    return student.cpu().eval().requires_grad_(False)


@torch.no_grad()
def _contexts(head: ActionHead, seen: Seen, horizon: int, batch: int) -> Tensor:
    """(N, T, D): what the decoder sees of each observation."""
    parts = torch.arange(len(seen)).split(batch)
    return torch.cat([context_of(head, seen.rows(part), horizon) for part in parts])
