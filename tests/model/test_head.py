"""The action head: what an action may depend on, and the released code's work that the baseline keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint


@pytest.fixture(scope="module")
def policy(small_checkpoint: Path) -> VideoPredictionPolicy:
    return policy_from_checkpoint(read_checkpoint(paths_from_folder(small_checkpoint)))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@torch.no_grad()
@pytest.mark.parametrize("i", range(4))
def test_action_i_sees_context_up_to_i_and_actions_up_to_i(policy: VideoPredictionPolicy, i: int) -> None:
    context, noisy, sigma = normal(1, 34, 32), normal(1, 4, 18), torch.tensor([1.5])
    before = policy.head.denoise(noisy, sigma, context)

    later_context, later_actions = context.clone(), noisy.clone()
    later_context[:, i + 1 :] += 100
    later_actions[:, i + 1 :] += 100
    after = policy.head.denoise(later_actions, sigma, later_context)
    torch.testing.assert_close(after[:, : i + 1], before[:, : i + 1])

    seen = context.clone()
    seen[:, i] += 1
    after = policy.head.denoise(noisy, sigma, seen)
    assert not torch.allclose(after[:, i], before[:, i])
    torch.testing.assert_close(after[:, :i], before[:, :i])


@torch.no_grad()
def test_preconditioning_keeps_what_is_nearly_clean(policy: VideoPredictionPolicy) -> None:
    """At vanishing noise the estimate is the input itself (arXiv 2206.00364, table 1: c_skip -> 1, c_out -> 0)."""
    noisy = normal(1, 4, 18)
    estimate = policy.head.denoise(noisy, torch.tensor([1e-4]), normal(1, 34, 32))
    torch.testing.assert_close(estimate, noisy, rtol=0, atol=1e-2)


def test_the_baseline_encodes_the_context_in_every_step(
    policy: VideoPredictionPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the released code does: otherwise every speed ratio against it would be wrong."""
    calls = []
    encode = policy.head.encode
    monkeypatch.setattr(policy.head, "encode", lambda *inputs: calls.append(1) or encode(*inputs))
    policy.act(normal(1, 32, 32), normal(1, 32), normal(1, 1, 19), normal(1, 4, 18))
    assert len(calls) == len(policy.sigmas) - 1 == 3


def test_proprio_is_asked_for(policy: VideoPredictionPolicy) -> None:
    with pytest.raises(ValueError, match="proprioception"):
        policy.act(normal(1, 32, 32), normal(1, 32), None, normal(1, 4, 18))
