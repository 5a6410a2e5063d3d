"""The training loop: parts of a batch add up to it, a stopped run goes on, the best judged weights stay."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.export.distill import loop
from vpp_edge.export.distill.accelerating import open_trainer
from vpp_edge.export.distill.curve import Curve, curve_of
from vpp_edge.export.distill.loop import Schedule, Trainer, train
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.installing import pip_install
from vpp_edge.progress import ignore_progress

WANTED = torch.linspace(-1, 1, 4)


def regression() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 1, bias=False)


def trained(schedule: Schedule, trainer: Trainer, judged: list[float] | None = None) -> tuple[Tensor, Curve]:
    module = regression()

    def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        x = torch.from_numpy(np.stack([random.standard_normal(4, dtype=np.float32) for random in randoms]))
        return (module(x)[:, 0] - x @ WANTED).square().mean()

    def judge() -> float:
        error = float((module.weight[0] - WANTED).square().mean())
        judged.append(error)  # type: ignore[union-attr]
        return error

    curve = train("t", {"module": module}, loss_of, schedule, trainer, None if judged is None else judge)
    return module.weight.detach().clone(), curve


def test_parts_of_a_batch_add_up_to_it(tmp_path: Path) -> None:
    found = []
    for accumulate in (1, 2, 4):
        folder = tmp_path / str(accumulate)
        folder.mkdir()
        schedule = Schedule(steps=30, rate=0.03, batch=8, warm_up=5)
        found.append(trained(schedule, Trainer(folder=folder, seed=1, accumulate=accumulate)))
    for weight, curve in found[1:]:
        torch.testing.assert_close(weight, found[0][0], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(curve.losses, found[0][1].losses, rtol=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="a batch of 8 cannot be shared evenly by 1 process in 3 parts"):
        trained(Schedule(steps=1, rate=0.1, batch=8), Trainer(folder=tmp_path, seed=0, accumulate=3))


def test_the_best_judged_weights_stay_and_end_the_training(tmp_path: Path) -> None:
    judged: list[float] = []
    # A rate so high that the weights overshoot: the training is given up after 3 judgements without a better one.
    schedule = Schedule(steps=400, rate=0.9, batch=1, warm_up=1, average=0.0, clip=1e9, judge_every=5, patience=3)
    weight, curve = trained(schedule, Trainer(folder=tmp_path, seed=0), judged)
    assert len(curve.losses) == 5 * (len(judged) - 1) < 400
    assert len(judged) - 1 - int(np.argmin(judged)) == 3
    assert float((weight[0] - WANTED).square().mean()) == pytest.approx(min(judged), rel=1e-5)
    assert curve.held_out == tuple((5 * i, error) for i, error in enumerate(judged))
    assert curve.best == (5 * int(np.argmin(judged)), min(judged))
    trained(schedule, Trainer(folder=tmp_path, seed=0), again := [])
    assert not again, "its end was kept, so that a resume takes no step again"


@given(steps=st.integers(1, 3000), most=st.integers(2, 12), judge_every=st.integers(1, 400))
def test_a_thinned_curve_keeps_mean_end_and_best(steps: int, most: int, judge_every: int) -> None:
    random = np.random.default_rng(steps)
    losses, judged = random.random(steps).tolist(), random.random(1 - (-steps // judge_every)).tolist()
    whole = curve_of(losses, judged, judge_every)
    few = whole.thinned(most)
    assert len(few.losses) <= most and len(few.held_out) <= most
    assert few.best == whole.best and set(few.held_out) <= set(whole.held_out)
    assert few.held_out[-1] == whole.held_out[-1] == (steps, judged[-1])
    ends = [step for step, _ in few.losses]
    assert ends == sorted(set(ends)) and ends[-1] == steps
    assert np.average([loss for _, loss in few.losses], weights=np.diff([0, *ends])) == pytest.approx(np.mean(losses))


def test_a_start_that_training_makes_worse_stays(tmp_path: Path) -> None:
    schedule = Schedule(steps=4, rate=1e6, batch=1, warm_up=1, average=0.0, judge_every=2)
    weight, _ = trained(schedule, Trainer(folder=tmp_path, seed=0), [])
    torch.testing.assert_close(weight, regression().weight.detach())


def test_notes_tell_the_loss_and_a_held_out_error_where_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(loop, "NOTED", 2)
    trained(Schedule(steps=5, rate=0.1, judge_every=3), Trainer(folder=tmp_path, seed=0, note=notes.append), [])
    assert re.fullmatch(r"t: held-out error \S+ at the start", notes.pop(0))
    assert [note[: note.index(", loss")] for note in notes] == [f"t: step {n} of 5" for n in (2, 3, 4, 5)]
    assert ["held-out error" in note for note in notes] == [False, True, False, True]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    module = regression()
    with pytest.raises(BadInputError, match="the loss of step 0 is nan; train with a lower rate"):
        train(
            "t",
            {"module": module},
            lambda randoms, step: module.weight.sum() * float("nan"),
            Schedule(steps=1, rate=0.1),
            Trainer(folder=tmp_path, seed=0),
        )


def test_a_missing_optimizer_or_log_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bitsandbytes", "tensorboard", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("adamw8bit"))):
        trained(Schedule(steps=1, rate=0.1, optimizer="adamw8bit"), Trainer(folder=tmp_path, seed=0))
    for name, install in (("tensorboard", pip_install("distill")), ("trackio", "-m pip install trackio")):
        options = TrainingOptions(log_with=name)
        with pytest.raises(MissingDependencyError, match=re.escape(install)):
            open_trainer(options, folder=tmp_path, seed=0, report=ignore_progress, note=lambda text: None)
