"""Distill the action head: in, the teacher's head and tokens; out, a head of the same size with fewer sampling steps.

The student is regressed on where the teacher's sampler ends from the same noise, under random prefixes. Unlike a target
of consistency or progressive distillation this keeps the map from noise to actions, so modes stay apart; two steps are
the least that see a prefix (docs/distillation.md).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.loop import Schedule, train
from vpp_edge.export.distill.prefixes import random_prefixes
from vpp_edge.model.head import ActionHead
from vpp_edge.model.sampler import SAMPLER_FUNCTIONS
from vpp_edge.progress import ProgressCallback

# Lowest noise level of a student with more than one step. Its last step starts there; with the teacher's 0.001 it would
# only repeat the step before.
STUDENT_SIGMA_MIN = 0.3


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


@dataclass(frozen=True)
class Sampler:
    """How a head samples: noise levels, the last one 0, and the name of the algorithm."""

    sigmas: tuple[float, ...]
    name: str = "ddim"

    def actions(self, head: ActionHead, seen: Seen, *, noise: Tensor, prefix: Tensor, weight: Tensor) -> Tensor:
        """(B, T, A) normalized actions, as the exported stage `act` computes them; arguments likewise, B at once."""
        context = head.encode(seen.tokens, seen.goals, seen.proprio)
        pull = weight[..., None]

        def denoise(actions: Tensor, sigma: float) -> Tensor:
            level = torch.tensor([sigma], dtype=actions.dtype, device=actions.device)
            estimate = head.denoise(actions, level, context)
            return estimate + pull * (prefix - estimate)

        return SAMPLER_FUNCTIONS[self.name](denoise, noise * self.sigmas[0], self.sigmas)


def distill_head(
    teacher: ActionHead,
    seen: Seen,
    *,
    of: Sampler,
    to: Sampler,
    horizon: int,
    schedule: Schedule,
    batch: int,
    seed: int,
    folder: Path,
    report: ProgressCallback,
) -> ActionHead:
    """A copy of the teacher's head that samples with `to` what the teacher samples with `of`.

    Args:
        seen: observations to train on.
        folder: holds the state from which an interrupted run goes on.
    """
    student = copy.deepcopy(teacher).train().requires_grad_(True)
    dims = teacher.action_pred.out_features

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        rows = seen.rows(torch.from_numpy(random.integers(len(seen), size=batch)))
        noise, other = (_normal(random, (batch, horizon, dims)) for _ in range(2))
        with torch.no_grad():
            free = torch.zeros(batch, horizon)
            executed = of.actions(teacher, rows, noise=other, prefix=noise, weight=free)
            prefix, weight = random_prefixes(executed, random)
            wanted = of.actions(teacher, rows, noise=noise, prefix=prefix, weight=weight)
        return (to.actions(student, rows, noise=noise, prefix=prefix, weight=weight) - wanted).square().mean()

    train("head", {"head": student}, loss_of, schedule, folder=folder, seed=seed, report=report)
    return student.eval().requires_grad_(False)


def student_sigmas(steps: int, teacher: Sequence[float]) -> tuple[float, ...]:
    """The noise levels of a student with `steps` steps: from the teacher's first, evenly in their logarithm."""
    if steps == 1:
        return (teacher[0], 0.0)
    levels = np.geomspace(teacher[0], STUDENT_SIGMA_MIN, steps)
    return (*map(float, levels), 0.0)


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
