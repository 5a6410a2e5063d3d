"""A distilled head samples as the exported stage does and keeps its teacher's actions; a stopped run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_policy import SMALL

from vpp_edge.checkpoint.untrained import configs_of
from vpp_edge.export.distill.head import HeadLesson, Sampler, Seen, contexts_of, distill_head
from vpp_edge.export.distill.loop import Schedule, Trainer
from vpp_edge.export.distill.measures import measure_head
from vpp_edge.export.distill.prefixes import random_prefixes
from vpp_edge.export.distill.student_sampler import student_sigmas
from vpp_edge.export.stages import ActStage
from vpp_edge.model.head import ActionHead

HEAD = configs_of(replace(SMALL, frames=2, actions=6, proprio=5))[1]
TEACHER_SIGMAS = (*map(float, np.geomspace(80, 0.001, 10)), 0.0)
OF, TO = Sampler(TEACHER_SIGMAS), Sampler(student_sigmas(2, TEACHER_SIGMAS))
HORIZON, COUNT = HEAD.horizon, 24


@pytest.fixture(scope="module")
def teacher() -> ActionHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ActionHead(HEAD).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def seen() -> Seen:
    generator = torch.Generator().manual_seed(1)
    return Seen(
        tokens=torch.randn(COUNT, 4, HEAD.token_width, generator=generator),
        goals=torch.randn(COUNT, HEAD.goal_width, generator=generator),
        proprio=torch.rand(COUNT, 1, 5, generator=generator),
    )


def distilled(teacher: ActionHead, seen: Seen, folder: Path, *, steps: int, stop_at: int | None = None) -> ActionHead:
    def report(_: str, fraction: float) -> None:
        if stop_at is not None and fraction >= stop_at / steps:
            raise KeyboardInterrupt

    schedule = Schedule(steps=steps, rate=1e-3, batch=8, warm_up=10)
    trainer = Trainer(folder=folder, seed=0, report=report)
    return distill_head(teacher, lesson(teacher, seen, TO), schedule, trainer)[0]


def lesson(teacher: ActionHead, seen: Seen, to: Sampler) -> HeadLesson:
    contexts = contexts_of(teacher, [seen], HORIZON)
    return HeadLesson(contexts=contexts, own=contexts, of=OF, to=to)


@pytest.mark.parametrize("sampler", [OF, replace(TO, prefix_pulls=4)], ids=["teacher", "student"])
def test_it_samples_as_the_exported_stage(teacher: ActionHead, seen: Seen, sampler: Sampler) -> None:
    stage = ActStage(teacher, sampler.sigmas, sampler.name, HORIZON, prefix_pulls=sampler.prefix_pulls)
    noise, prefix = (torch.randn(COUNT, HORIZON, 6, generator=torch.Generator().manual_seed(n)) for n in (2, 3))
    weight = torch.linspace(1, 0, HORIZON).expand(COUNT, -1)
    together = sampler.chunks(teacher, contexts_of(teacher, [seen], HORIZON), noise=noise, prefix=prefix, weight=weight)
    for i in range(3):
        inputs = (seen.tokens, seen.goals, seen.proprio, noise, prefix, weight)
        alone = stage(*(tensor[i : i + 1] for tensor in inputs))
        assert torch.allclose(together[i : i + 1], alone, atol=2e-5)


def test_a_student_with_the_teachers_steps_is_the_teacher(teacher: ActionHead, seen: Seen) -> None:
    measures = measure_head(teacher, teacher, lesson(teacher, seen, OF), seed=0)
    assert measures.action_rms == measures.action_rms_prefixed == 0
    assert measures.same_mode == 1 and measures.student_spread == measures.teacher_spread
    assert measures.student_following == measures.teacher_following
    assert measures.student_seam == measures.teacher_seam > 0


def test_distilling_brings_two_steps_nearer_to_ten(teacher: ActionHead, seen: Seen, tmp_path: Path) -> None:
    before = measure_head(teacher, teacher, lesson(teacher, seen, TO), seed=0)
    student = distilled(teacher, seen, tmp_path, steps=100)
    after = measure_head(teacher, student, lesson(teacher, seen, TO), seed=0)
    assert after.action_rms < 0.6 * before.action_rms
    assert after.action_rms_prefixed < 0.8 * before.action_rms_prefixed


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    teacher: ActionHead, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vpp_edge.export.distill.loop.SAVE_S", 0.0)  # the state of every step is kept
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = distilled(teacher, seen, tmp_path / "whole", steps=8)
    with pytest.raises(KeyboardInterrupt):
        distilled(teacher, seen, tmp_path / "stopped", steps=8, stop_at=5)
    resumed = distilled(teacher, seen, tmp_path / "stopped", steps=8)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@given(seed=st.integers(0, 2**32), horizon=st.integers(1, 20))
def test_prefixes_are_what_real_time_chunking_can_give(seed: int, horizon: int) -> None:
    chunks = torch.zeros(5, horizon, 3)
    prefix, weight = random_prefixes(chunks, [np.random.default_rng((seed, row)) for row in range(len(chunks))])
    assert prefix.shape == chunks.shape and weight.shape == (5, horizon)
    assert ((weight >= 0) & (weight <= 1)).all()
    assert (weight.diff(dim=1) <= 1e-6).all()  # falling
    assert all(row[0] == 1 or not row.any() for row in weight)


@pytest.mark.parametrize(("steps", "levels"), [(1, (80.0, 0.0)), (2, (80.0, 0.3, 0.0))])
def test_levels(steps: int, levels: tuple[float, ...]) -> None:
    assert student_sigmas(steps, TEACHER_SIGMAS) == pytest.approx(levels)
