"""DDIM sampling of an action chunk: in, scaled noise and a denoiser; out, clean actions.

First-order DPM-Solver (arXiv 2206.00927, algorithm 1) in the exponential-integrator form, which is DDIM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor


def sample_ddim(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, sigmas: Sequence[float]) -> Tensor:
    """(1, T, A) clean actions.

    Args:
        denoise: estimate of the clean actions from noisy ones (1, T, A) at a noise level.
        noise: (1, T, A), already times sigmas[0].
        sigmas: falling noise levels, the last one 0.
    """
    actions = noise
    for sigma, following in pairwise(sigmas):
        kept = following / sigma
        actions = kept * actions + (1 - kept) * denoise(actions, sigma)
    return actions
