"""The action sampler against solutions that are known: Gaussian data, whose best denoiser is linear."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vpp_edge.checkpoint.config import SamplerConfig
from vpp_edge.checkpoint.meaning import exponential_sigmas
from vpp_edge.model.sampler import sample_ddim

MEAN, SPREAD = 0.3, 0.5


def denoise(noisy: Tensor, sigma: float) -> Tensor:
    """E[clean | noisy] for clean actions of N(MEAN, SPREAD^2)."""
    return (SPREAD**2 * noisy + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def sampled(sigmas: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Noisy start and result, in float64."""
    noise = torch.linspace(-2, 2, 80, dtype=torch.float64).reshape(1, 8, 10) * sigmas[0]
    return noise, sample_ddim(denoise, noise, sigmas)


def schedule(steps: int) -> tuple[float, ...]:
    return exponential_sigmas(SamplerConfig("ddim", steps, 0.001, 80))


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 100])
def test_each_step_is_the_closed_form(steps: int) -> None:
    """A DDIM step of a linear denoiser scales the distance from the mean by r + (1 - r) S^2 / (S^2 + sigma^2)."""
    sigmas = schedule(steps)
    noise, actions = sampled(sigmas)
    factor = 1.0
    for sigma, following in pairwise(sigmas):
        kept = following / sigma
        factor *= kept + (1 - kept) * SPREAD**2 / (SPREAD**2 + sigma**2)
    torch.testing.assert_close(actions, MEAN + (noise - MEAN) * factor, rtol=1e-10, atol=1e-12)


def test_it_converges_to_the_flow_at_first_order() -> None:
    """The flow keeps (x - m) / sqrt(S^2 + sigma^2) (arXiv 2206.00364, eq. 4); the error halves with the step."""
    errors = []
    for steps in (200, 400, 800):
        noise, actions = sampled(schedule(steps))
        exact = MEAN + (noise - MEAN) * SPREAD / (SPREAD**2 + 80**2) ** 0.5
        errors.append(float((actions - exact).abs().max()))
    assert errors[0] < 0.05
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("steps", [1, 10, 63])
def test_noise_levels_fall_exponentially_to_nothing(steps: int) -> None:
    sigmas = schedule(steps)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == pytest.approx(80)
    assert sigmas[-1] == 0
    ratios = [b / a for a, b in pairwise(sigmas[:-1])]
    assert ratios == pytest.approx([ratios[0]] * len(ratios) if ratios else [])
    assert steps == 1 or sigmas[-2] == pytest.approx(0.001)
