"""What a distilled head keeps of its teacher: in, both heads and held-out observations; out, figures for its card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.head import Sampler, Seen
from vpp_edge.export.distill.prefixes import random_prefixes
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
        observations: number of them.
    """

    action_rms: float
    action_rms_prefixed: float
    teacher_spread: float
    student_spread: float
    same_mode: float
    teacher_following: float
    student_following: float
    observations: int


@torch.no_grad()
def measure_head(
    teacher: ActionHead, student: ActionHead, seen: Seen, *, of: Sampler, to: Sampler, horizon: int, seed: int
) -> HeadMeasures:
    """Compares the two on held-out observations, `DRAWS` chunks of each."""
    random, shape = np.random.default_rng(seed), (DRAWS, horizon, teacher.action_pred.out_features)
    squares: dict[str, list[Tensor]] = {}
    nearest: list[Tensor] = []

    def add(name: str, value: Tensor) -> None:
        squares.setdefault(name, []).append(value.square().mean())

    for number in range(len(seen)):
        rows = seen.rows(torch.tensor([number]))
        rows = Seen(
            tokens=rows.tokens.expand(DRAWS, -1, -1),
            goals=rows.goals.expand(DRAWS, -1),
            proprio=None if rows.proprio is None else rows.proprio.expand(DRAWS, -1, -1),
        )
        noise, other = (torch.from_numpy(random.standard_normal(shape, dtype=np.float32)) for _ in range(2))
        free = torch.zeros(shape[:2])
        executed = of.actions(teacher, rows, noise=other, prefix=noise, weight=free)
        prefix, weight = random_prefixes(executed, random)
        plain = {
            who: with_.actions(head, rows, noise=noise, prefix=noise, weight=free)
            for who, head, with_ in _pair(teacher, student, of, to)
        }
        given = {
            who: with_.actions(head, rows, noise=noise, prefix=prefix, weight=weight)
            for who, head, with_ in _pair(teacher, student, of, to)
        }
        add("rms", plain["student"] - plain["teacher"])
        add("prefixed", given["student"] - given["teacher"])
        distances = torch.cdist(plain["student"].flatten(1), plain["teacher"].flatten(1))
        nearest.append((distances.argmin(1) == torch.arange(DRAWS)).float())
        pulled = ((weight > 0) & (weight < 1))[..., None]
        for who in ("teacher", "student"):
            add(f"{who} spread", plain[who] - plain[who].mean(0, keepdim=True))
            add(f"{who} free", (plain[who] - prefix) * pulled)
            add(f"{who} pulled", (given[who] - prefix) * pulled)
    rms = {name: float(torch.stack(values).mean().sqrt()) for name, values in squares.items()}
    following = {who: 1 - rms[f"{who} pulled"] / max(rms[f"{who} free"], 1e-9) for who in ("teacher", "student")}
    return HeadMeasures(
        action_rms=rms["rms"],
        action_rms_prefixed=rms["prefixed"],
        teacher_spread=rms["teacher spread"],
        student_spread=rms["student spread"],
        same_mode=float(torch.cat(nearest).mean()),
        teacher_following=following["teacher"],
        student_following=following["student"],
        observations=len(seen),
    )


def _pair(
    teacher: ActionHead, student: ActionHead, of: Sampler, to: Sampler
) -> tuple[tuple[str, ActionHead, Sampler], ...]:
    return ("teacher", teacher, of), ("student", student, to)
