"""Sample an action chunk from scaled noise with a denoiser. One function is one algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

Denoiser = Callable[[Tensor, float], Tensor]


def sample_ddim(denoise: Denoiser, noise: Tensor, sigmas: Sequence[float]) -> Tensor:
    """(1, T, A) clean actions by DDIM.

    Source: first-order DPM-Solver (arXiv 2206.00927, algorithm 1) in the exponential-integrator form.

    Args:
        denoise: estimate of the clean actions from noisy ones (1, T, A) at a noise level.
        noise: (1, T, A), already times sigmas[0].
        sigmas: decreasing noise levels, the last one 0.
    """
    actions = noise
    for sigma, following in pairwise(sigmas):
        kept = following / sigma
        actions = kept * actions + (1 - kept) * denoise(actions, sigma)
    return actions


def sample_dpmpp_2m(denoise: Denoiser, noise: Tensor, sigmas: Sequence[float]) -> Tensor:
    """(1, T, A) clean actions by DPM-Solver++(2M); arguments as in `sample_ddim`.

    Each step is a DDIM step with an estimate extrapolated from the previous one, so it costs no further call. The first
    step has no previous estimate, and the last one, to level 0, is infinitely long in log sigma: both are DDIM steps.

    Source: arXiv 2211.01095, algorithm 2, with the last step as in k-diffusion and MDT.
    """
    actions = noise
    before: Tensor | None = None
    step_before = 0.0
    for sigma, following in pairwise(sigmas):
        estimate = direction = denoise(actions, sigma)
        if following > 0:
            step = math.log(sigma / following)
            if before is not None:
                share = step / (2 * step_before)
                direction = (1 + share) * estimate - share * before
            before, step_before = estimate, step
        kept = following / sigma
        actions = kept * actions + (1 - kept) * direction
    return actions


def pulled(denoise: Denoiser, prefix: Tensor, weight: Tensor, pulls: int = 1) -> Denoiser:
    """A denoiser whose estimate e becomes `(1 - w) * e + w * prefix`, w per action, `pulls` times.

    Args:
        prefix: (1, T, A) normalized actions; weight: (1, T), from 0 to 1.
    """
    share = weight[..., None]
    if pulls > 1:
        share = 1 - (1 - share) ** pulls

    def pulled_estimate(actions: Tensor, sigma: float) -> Tensor:
        estimate = denoise(actions, sigma)
        return estimate + share * (prefix - estimate)

    return pulled_estimate


# By the name in a checkpoint's `sampler_type` and in PolicySpec.sampler.
SAMPLER_FUNCTIONS: dict[str, Callable[[Denoiser, Tensor, Sequence[float]], Tensor]] = {
    "ddim": sample_ddim,
    "dpmpp_2m": sample_dpmpp_2m,
}
