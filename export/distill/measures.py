"""What a distilled head keeps of its teacher: in, both heads and held-out observations; out, figures for its card."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.head import Sampler, Seen, context_of
from vpp_edge.export.distill.prefixes import random_prefixes, standard_normal
from vpp_edge.model.head import ActionHead

DRAWS = 16  # chunks per observation, to see the spread over noise


@dataclass(frozen=True)
class HeadMeasures:
    """Figures over held-out observations, on normalized actions.

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
def measure_head(
    teacher: ActionHead,
    student: ActionHead,
    seen: Seen,
    *,
    own: Seen | None = None,
    of: Sampler,
    to: Sampler,
    horizon: int,
    seed: int,
) -> HeadMeasures:
    """Compares the two on held-out observations, `DRAWS` chunks of each.

    Args:
        seen: the observations as the teacher sees them; own: as the student does, None: as the teacher.
    """
    shape, free = (horizon, teacher.action_pred.out_features), torch.zeros(DRAWS, horizon)
    heads = {"teacher": (teacher, of, seen), "student": (student, to, own or seen)}
    rms: defaultdict[str, _Rms] = defaultdict(_Rms)
    nearest: list[Tensor] = []
    for number in range(len(seen)):
        randoms = [np.random.default_rng((seed, number, draw)) for draw in range(DRAWS)]
        contexts = {who: _context(head, of_who, number, horizon) for who, (head, _, of_who) in heads.items()}
        noise, other = standard_normal(randoms, shape), standard_normal(randoms, shape)
        executed = of.chunks(teacher, contexts["teacher"], noise=other, prefix=noise, weight=free)
        prefix, weight = random_prefixes(executed, randoms)
        pulled = (weight > 0) & (weight < 1)
        first = pulled & (pulled.cumsum(1) == 1)
        plain, given = (
            {
                who: by.chunks(head, contexts[who], noise=noise, prefix=prefix, weight=w)
                for who, (head, by, _) in heads.items()
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
        observations=len(seen),
    )


def _context(head: ActionHead, seen: Seen, number: int, horizon: int) -> Tensor:
    """(DRAWS, T, D): what the decoder sees of one observation, for every draw."""
    return context_of(head, seen.rows(torch.tensor([number])), horizon).expand(DRAWS, -1, -1)


class _Rms:
    """The root mean square of everything added."""

    def __init__(self) -> None:
        self.squares, self.count = 0.0, 0

    def add(self, values: Tensor) -> None:
        self.squares, self.count = self.squares + float(values.square().sum()), self.count + values.numel()

    @property
    def value(self) -> float:
        return math.sqrt(self.squares / max(self.count, 1))
