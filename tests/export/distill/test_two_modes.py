"""A distilled head keeps both of two modes in the teacher's shares, and stays in the mode of a prefix.

The teacher is the best denoiser of chunks that go one way or the other from the same observation. What must not pass
is tried as well: the teacher's own two steps, one step, and regression on the chunk of another noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_policy import SMALL
from torch import Tensor

from vpp_edge.checkpoint.untrained import configs_of
from vpp_edge.export.distill.draws import standard_normal
from vpp_edge.export.distill.head import HeadLesson, Sampler, Seen, contexts_of, distill_head
from vpp_edge.export.distill.loop import Schedule, Trainer
from vpp_edge.export.distill.measures import measure_head
from vpp_edge.export.distill.student_sampler import student_sampler
from vpp_edge.model.head import ActionHead
from vpp_edge.spec.prefix import prefix_weights

HORIZON, ACTIONS = 4, 2
HEAD = configs_of(replace(SMALL, frames=2, horizon=HORIZON, actions=ACTIONS, proprio=None))[1]
# The first mode; the second is its negative. The first action decides, since a decoder is causal.
WAY = torch.tensor([1.5, 0.5, 0.5, 0.5])[:, None] * torch.tensor([0.8, -0.6])
SHARE, WITHIN = 0.7, 0.05  # of the first mode; standard deviation within a mode
OF = Sampler((*map(float, np.geomspace(80, 0.001, 10)), 0.0))
DRAWS = 2000
HeadAndSampler = tuple[ActionHead, Sampler]


class TwoWays(ActionHead):
    """The teacher; its copy, with which a student begins, is an ordinary head."""

    def denoise(self, actions: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        """The mean of the clean chunk given its actions up to each one, which is all that a causal decoder sees."""
        variance = WITHIN**2 + sigma**2
        odds = math.log(SHARE / (1 - SHARE)) + (2 * (actions * WAY).sum(-1, keepdim=True) / variance).cumsum(1)
        mode = torch.tanh(odds / 2) * WAY
        return mode + WITHIN**2 / variance * (actions - mode)

    def __deepcopy__(self, memo: dict[int, Any]) -> ActionHead:
        head = ActionHead(HEAD)
        head.load_state_dict(self.state_dict())
        return head


@pytest.fixture(scope="module")
def teacher() -> ActionHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TwoWays(HEAD).eval().requires_grad_(False)


def looks(count: int) -> Seen:
    """The same observation, so many times."""
    return Seen(tokens=torch.zeros(count, 4, HEAD.token_width), goals=torch.ones(count, HEAD.goal_width), proprio=None)


def distilled(
    teacher: ActionHead, folder: Path, *, head_steps: int, training_steps: int, of: Sampler = OF
) -> HeadAndSampler:
    contexts = contexts_of(teacher, [looks(64)], HORIZON)
    to = student_sampler(teacher, OF, contexts, steps=head_steps, seed=0)
    lesson = HeadLesson(contexts=contexts, own=contexts, of=of, to=to)
    schedule = Schedule(steps=training_steps, rate=3e-3, batch=64, warm_up=30, average=0.98)
    return distill_head(teacher, lesson, schedule, Trainer(folder=folder, seed=0))[0], to


@torch.no_grad()
def places(head: ActionHead, sampler: Sampler, *, toward: int = 0) -> Tensor:
    """(DRAWS,): where each chunk's actions, without its first, are between the second mode, -1, and the first, 1.

    Args:
        toward: 1 or -1: with a prefix in that mode, whose first action is given; 0: without one.
    """
    noise = standard_normal([np.random.default_rng((3, draw)) for draw in range(DRAWS)], (HORIZON, ACTIONS))
    weight = torch.from_numpy(prefix_weights(HORIZON, 1, covered=HORIZON)) * abs(toward)
    prefix, weights = (toward * WAY).expand(DRAWS, -1, -1), weight.expand(DRAWS, -1)
    chunks = sampler.chunks(
        head, contexts_of(head, [looks(DRAWS)], HORIZON), noise=noise, prefix=prefix, weight=weights
    )
    return ((chunks * WAY).sum(-1) / WAY.square().sum(-1))[:, 1:].mean(1)


def between(place: Tensor) -> float:
    """The share of chunks in neither mode."""
    return float((place.abs() < 0.6).float().mean())


@dataclass(frozen=True)
class AnotherNoise(Sampler):
    """Gives the chunk of another noise than the one asked for, as plain regression on recorded actions would."""

    def chunks(self, head: ActionHead, context: Tensor, *, noise: Tensor, prefix: Tensor, weight: Tensor) -> Tensor:
        return super().chunks(head, context, noise=noise.roll(1, dims=0), prefix=prefix, weight=weight)


@pytest.fixture(scope="module")
def student(teacher: ActionHead, tmp_path_factory: pytest.TempPathFactory) -> HeadAndSampler:
    return distilled(teacher, tmp_path_factory.mktemp("student"), head_steps=2, training_steps=600)


def test_both_modes_stay_in_the_teachers_shares(teacher: ActionHead, student: HeadAndSampler) -> None:
    taught, learned = places(teacher, OF), places(*student)
    share = float((taught > 0).float().mean())
    assert 0.6 < share < 0.85 and between(taught) < 0.03
    # The same noise is drawn for both, so that only chunks that changed their mode count.
    assert float(((learned > 0) == (taught > 0)).float().mean()) >= 0.98
    assert float((learned > 0).float().mean()) == pytest.approx(share, abs=0.02)
    assert between(learned) < 0.06


@pytest.mark.parametrize("way", [1, -1])
def test_a_prefix_keeps_the_chunk_in_its_mode(teacher: ActionHead, student: HeadAndSampler, way: int) -> None:
    """Also where the noise alone would have led to the other one."""
    for head, sampler in ((teacher, OF), student):
        place = way * places(head, sampler, toward=way)
        assert float((place > 0.6).float().mean()) >= 0.98


def test_measures_of_two_modes(teacher: ActionHead, student: HeadAndSampler) -> None:
    head, to = student
    contexts = contexts_of(teacher, [looks(16)], HORIZON)
    measures = measure_head(teacher, head, HeadLesson(contexts=contexts, own=contexts, of=OF, to=to), seed=0)
    assert measures.student_spread == pytest.approx(measures.teacher_spread, rel=0.1)
    assert measures.student_following == pytest.approx(measures.teacher_following, abs=0.1)
    assert measures.student_seam == pytest.approx(measures.teacher_seam, abs=0.05)


def test_two_steps_of_the_teacher_lose_a_mode(teacher: ActionHead, student: HeadAndSampler) -> None:
    _, to = student
    assert float((places(teacher, to) > 0).float().mean()) > 0.95


def test_one_step_ends_between_the_modes(teacher: ActionHead, tmp_path: Path) -> None:
    head, to = distilled(teacher, tmp_path, head_steps=1, training_steps=150)
    assert between(places(head, to)) > 0.3
    assert between(places(head, to, toward=-1)) > 0.3


def test_regression_on_another_noise_ends_between_the_modes(teacher: ActionHead, tmp_path: Path) -> None:
    head, to = distilled(teacher, tmp_path, head_steps=2, training_steps=100, of=AnotherNoise(OF.sigmas))
    assert between(places(head, to)) > 0.7
