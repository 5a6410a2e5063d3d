"""The action sampler against known solutions: Gaussian data, whose optimal denoiser is linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vpp_edge.checkpoint.config import SAMPLERS, SamplerConfig
from vpp_edge.checkpoint.policy_spec import exponential_sigmas
from vpp_edge.model.sampler import SAMPLER_FUNCTIONS

MEAN, SPREAD = 0.3, 0.5


def denoise(noisy: Tensor, sigma: float) -> Tensor:
    """E[clean | noisy] for clean actions of N(MEAN, SPREAD^2)."""
    return (SPREAD**2 * noisy + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def sampled(sigmas: Sequence[float], sampler: str = "ddim") -> tuple[Tensor, Tensor]:
    """Noisy start and result, in float64."""
    noise = torch.linspace(-2, 2, 80, dtype=torch.float64).reshape(1, 8, 10) * sigmas[0]
    return noise, SAMPLER_FUNCTIONS[sampler](denoise, noise, sigmas)


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


@pytest.mark.parametrize(("sampler", "factor", "largest"), [("ddim", 2, 0.05), ("dpmpp_2m", 4, 0.002)])
def test_it_converges_to_the_flow_at_its_order(sampler: str, factor: float, largest: float) -> None:
    """The flow keeps (x - m) / sqrt(S^2 + sigma^2) (arXiv 2206.00364, eq. 4).

    With half the step the error of a first-order method is half, and that of a second-order one a quarter. The lowest
    level is so low that the last step, which is of first order in both, does not count.
    """
    errors = []
    for steps in (200, 400, 800):
        noise, actions = sampled(exponential_sigmas(SamplerConfig(sampler, steps, 1e-6, 80)), sampler)
        exact = MEAN + (noise - MEAN) * SPREAD / (SPREAD**2 + 80**2) ** 0.5
        errors.append(float((actions - exact).abs().max()))
    assert errors[0] < largest
    assert errors[0] / errors[1] == pytest.approx(factor, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(factor, rel=0.1)


def test_dpmpp_2m_is_algorithm_2_of_its_paper() -> None:
    """In the paper's own terms: lambda = -log(sigma), h the step in lambda, r the ratio of two steps, alpha = 1."""
    sigmas = (80.0, 20.0, 1.0, 0.3, 0.0)
    noise, found = sampled(sigmas, "dpmpp_2m")
    x, lambdas = noise, [-math.log(s) for s in sigmas[:-1]]
    estimates = []
    for i in range(1, 4):
        estimates.append(denoise(x, sigmas[i - 1]))
        h, data = lambdas[i] - lambdas[i - 1], estimates[-1]
        if i > 1:
            r = (lambdas[i - 1] - lambdas[i - 2]) / h
            data = (1 + 1 / (2 * r)) * estimates[-1] - 1 / (2 * r) * estimates[-2]
        x = sigmas[i] / sigmas[i - 1] * x - math.expm1(-h) * data
    torch.testing.assert_close(found, denoise(x, sigmas[3]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_known_end_is_reached_exactly(sampler: str, steps: int) -> None:
    """With a constant estimate, as for a prefix of weight 1, the actions are that estimate."""
    end = torch.linspace(-1, 1, 80, dtype=torch.float64).reshape(1, 8, 10)
    actions = SAMPLER_FUNCTIONS[sampler](lambda noisy, sigma: end, 80 * torch.ones_like(end), schedule(steps))
    torch.testing.assert_close(actions, end, rtol=0, atol=1e-12)


def test_every_sampler_that_a_checkpoint_may_name_is_there() -> None:
    assert tuple(SAMPLER_FUNCTIONS) == SAMPLERS


@pytest.mark.parametrize("steps", [1, 10, 63])
def test_noise_levels_fall_exponentially_to_nothing(steps: int) -> None:
    sigmas = schedule(steps)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == pytest.approx(80)
    assert sigmas[-1] == 0
    ratios = [b / a for a, b in pairwise(sigmas[:-1])]
    assert ratios == pytest.approx([ratios[0]] * len(ratios) if ratios else [])
    assert steps == 1 or sigmas[-2] == pytest.approx(0.001)
