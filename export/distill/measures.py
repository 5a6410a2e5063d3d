"""What a distilled head keeps of its teacher: in, both heads and held-out observations; out, figures for its card."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpp_edge.bundle.certificate import SegmentError, physical_errors
from vpp_edge.export.distill.draws import standard_normal
from vpp_edge.export.distill.head import HeadLesson
from vpp_edge.export.distill.prefixes import random_prefixes
from vpp_edge.model.head import ActionHead
from vpp_edge.spec.policy import PolicySpec

DRAWS = 16  # chunks per observation, to see the spread over noise


@dataclass(frozen=True)
class HeadMeasures:
    """Figures over held-out observations, on actions as the policy gives them: normalized, where it has bounds.

    Attributes:
        action_rms: student against teacher, same noise, no prefix.
        action_rms_prefixed: the same under random prefixes.
        teacher_spread, student_spread: standard deviation over the noise, rms over observations and actions.
        same_mode: share of chunks whose nearest chunk of the teacher, of DRAWS, is that of the same noise.
        teacher_following, student_following: how far a prefix moves the actions that it only pulls, from 0 (as without
            it) to 1 (onto it).
        teacher_seam, student_seam: rms distance from the prefix to the first action that it only pulls.
        observations: number of them.
    """

    action_rms: float
    action_rms_prefixed: float
    teacher_spread: float
    student_spread: float
    same_mode: float
    teacher_following: float
    student_following: float
    teacher_seam: float
    student_seam: float
    observations: int


@torch.no_grad()
def measure_head(teacher: ActionHead, student: ActionHead, lesson: HeadLesson, seed: int) -> HeadMeasures:
    """Compares the two on held-out observations, `DRAWS` chunks of each."""
    horizon = lesson.contexts.shape[1]
    shape, free = (horizon, teacher.action_pred.out_features), torch.zeros(DRAWS, horizon)
    heads = {"teacher": (teacher, lesson.of), "student": (student, lesson.to)}
    rms: defaultdict[str, _Rms] = defaultdict(_Rms)
    nearest: list[Tensor] = []
    for number in range(len(lesson.contexts)):
        randoms = [np.random.default_rng((seed, number, draw)) for draw in range(DRAWS)]
        contexts = {
            who: seen[number].expand(DRAWS, -1, -1)
            for who, seen in (("teacher", lesson.contexts), ("student", lesson.own))
        }
        noise, other = standard_normal(randoms, shape), standard_normal(randoms, shape)
        executed = lesson.of.chunks(teacher, contexts["teacher"], noise=other, prefix=noise, weight=free)
        prefix, weight = random_prefixes(executed, randoms)
        pulled = (weight > 0) & (weight < 1)
        first = pulled & (pulled.cumsum(1) == 1)
        plain, given = (
            {
                who: by.chunks(head, contexts[who], noise=noise, prefix=prefix, weight=w)
                for who, (head, by) in heads.items()
            }
            for w in (free, weight)
        )
        rms["plain"].add(plain["student"] - plain["teacher"])
        rms["given"].add(given["student"] - given["teacher"])
        distances = torch.cdist(plain["student"].flatten(1), plain["teacher"].flatten(1))
        nearest.append((distances.argmin(1) == torch.arange(DRAWS)).float())
        for who in heads:
            rms[f"{who} spread"].add(plain[who] - plain[who].mean(0, keepdim=True))
            rms[f"{who} free"].add((plain[who] - prefix)[pulled])
            rms[f"{who} pulled"].add((given[who] - prefix)[pulled])
            rms[f"{who} seam"].add((given[who] - prefix)[first])
    following = {who: 1 - rms[f"{who} pulled"].value / max(rms[f"{who} free"].value, 1e-9) for who in heads}
    return HeadMeasures(
        action_rms=rms["plain"].value,
        action_rms_prefixed=rms["given"].value,
        teacher_spread=rms["teacher spread"].value,
        student_spread=rms["student spread"].value,
        same_mode=float(torch.cat(nearest).mean()),
        teacher_following=following["teacher"],
        student_following=following["student"],
        teacher_seam=rms["teacher seam"].value,
        student_seam=rms["student seam"].value,
        observations=len(lesson.contexts),
    )


@dataclass(frozen=True)
class PhysicalMeasures:
    """How far chunks are apart, in the units of the hand.

    Attributes:
        student: the student's from the teacher's, from the same noise.
        noise: two of the teacher's from one another, from different noise.
    """

    student: tuple[SegmentError, ...]
    noise: tuple[SegmentError, ...]


@torch.no_grad()
def measure_physically(
    teacher: ActionHead, student: ActionHead, lesson: HeadLesson, spec: PolicySpec, seed: int
) -> PhysicalMeasures:
    """Compares chunks without a prefix, one noise for each held-out observation."""
    randoms = [np.random.default_rng((seed, number)) for number in range(len(lesson.contexts))]
    noise, other = standard_normal(randoms, spec.chunk_shape), standard_normal(randoms, spec.chunk_shape)
    free = {"prefix": noise, "weight": torch.zeros(noise.shape[:2])}
    taught, otherwise = (lesson.of.chunks(teacher, lesson.contexts, noise=n, **free) for n in (noise, other))
    learnt = lesson.to.chunks(student, lesson.own, noise=noise, **free)
    of_student, of_noise = (physical_errors(spec, c.numpy(), taught.numpy()) for c in (learnt, otherwise))
    return PhysicalMeasures(student=of_student, noise=of_noise)


class _Rms:
    """The root mean square of everything added."""

    def __init__(self) -> None:
        self.squares, self.count = 0.0, 0

    def add(self, values: Tensor) -> None:
        self.squares, self.count = self.squares + float(values.square().sum()), self.count + values.numel()

    @property
    def value(self) -> float:
        return math.sqrt(self.squares / max(self.count, 1))
