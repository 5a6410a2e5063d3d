"""Weights are trained 2:4 sparse, end up so under their own names, and stay so where the export folds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_modules import VARIANTS, channels_of, former_of, video_model
from torch import Tensor, nn

from vpp_edge.export.distill import loop
from vpp_edge.export.distill.loop import Schedule, Trainer, train
from vpp_edge.export.distill.sparsity import (
    SparseTraining,
    make_sparse,
    sparse_layers,
    sparse_weight_share,
    two_of_four,
)
from vpp_edge.export.exact.former import reader_of
from vpp_edge.export.exact.video import VideoReader
from vpp_edge.export.sparse_weights import is_two_of_four


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 32, 3), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32, 64), nn.Linear(64, 2))


def is_sparse(layer: nn.Module) -> bool:
    return is_two_of_four(layer.weight.detach().numpy(), axis=1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.sampled_from([(), (3, 3), (3, 1, 1)]))
def test_the_two_largest_of_each_four_stay(seed: int, outputs: int, groups: int, kernel: tuple[int, ...]) -> None:
    """Exactly two, among equal ones too."""
    weight = torch.randint(-3, 4, (outputs, 4 * groups, *kernel), generator=torch.Generator().manual_seed(seed)).float()
    mask = two_of_four(weight).unflatten(1, (-1, 4))
    size = weight.abs().unflatten(1, (-1, 4))
    assert (mask.sum(2) == 2).all()
    assert (size.masked_fill(~mask, 9).amin(2) >= size.masked_fill(mask, 0).amax(2)).all()


def test_first_last_and_small_layers_stay_dense() -> None:
    assert list(sparse_layers(network())) == ["1", "3"]


def test_all_weights_get_the_gradient_and_those_left_out_are_pulled_to_zero() -> None:
    layer = nn.Linear(32, 32, bias=False)
    before = layer.weight.detach().clone()
    kept = two_of_four(before)
    training = SparseTraining(nn.Sequential(layer), pull=0.5)
    x = torch.ones(1, 32)
    layer(x).sum().backward()
    (trained,) = layer.parameters()
    assert torch.equal(layer(x), nn.functional.linear(x, before * kept))
    assert torch.equal(trained.grad, torch.where(kept, 1.0, 1.0 + 0.5 * before))
    training.finish()
    assert torch.equal(layer.weight, before * kept)


def trained(folder: Path, stop_at: int | None = None) -> tuple[nn.Sequential, list[float]]:
    student, x = network(), torch.randn(64, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    wanted = network()(x).detach()
    training = SparseTraining(student)

    def loss_of(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        rows = torch.tensor([int(random.integers(64)) for random in randoms])
        return (student(x[rows]) - wanted[rows]).square().mean()

    def report(_: str, fraction: float) -> None:
        if stop_at is not None and fraction >= stop_at / 60:
            raise KeyboardInterrupt

    schedule = Schedule(steps=60, rate=3e-3, batch=16, warm_up=5)
    curve = train("t", {"t": student}, loss_of, schedule, Trainer(folder=folder, seed=0, report=report))
    training.finish()
    return student, [loss for _, loss in curve.losses]


def test_training_makes_up_for_much_of_what_pruning_costs(tmp_path: Path) -> None:
    student, losses = trained(tmp_path)
    assert student.state_dict().keys() == network().state_dict().keys()
    assert all(map(is_sparse, sparse_layers(student).values()))
    assert np.mean(losses[-10:]) < 0.3 * losses[0]
    share = (32 * 32 * 9 + 64 * 32) / (32 * 4 * 9 + 32 * 32 * 9 + 64 * 32 + 2 * 64)
    assert sparse_weight_share(student) == pytest.approx(share) and sparse_weight_share(network()) == 0


def test_a_stopped_training_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, losses = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", stop_at=20)
    again, resumed = trained(tmp_path / "parts")
    assert resumed == losses
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize(("kind", "extract_layer", "all_layers", "hidden"), [VARIANTS[0], VARIANTS[1]])
@torch.no_grad()
def test_the_exact_export_keeps_the_zeros(kind: str, extract_layer: int, all_layers: bool, hidden: int) -> None:
    """Folded norms and scales, queries, keys and values as one product, convolutions over frames as flat ones."""
    torch.manual_seed(0)
    video = video_model(extract_layer, all_layers)
    former = former_of(kind, channels_of(extract_layer, all_layers), hidden)
    for module in (video.unet, video.encoder):
        make_sparse(module)
    lean = VideoReader(video, reader_of(former))
    layers = {n: m for n, m in lean.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    dense = {name for name, layer in layers.items() if not is_sparse(layer)}
    folded = ("conv_in.", "encoder.conv_", "upsamplers.", "features.")
    assert [name for name in sorted(dense) if not name.startswith(folded)] == []
    assert len(layers) > 5 * len(dense)
