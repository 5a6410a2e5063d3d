"""How a student samples: in, its teacher and observations; out, its noise levels and how often a step pulls.

A teacher's last steps, at little noise, repeat the actions that they are given and pull them to the prefix again, so
that a weight w acts like 1 - (1 - w)^k. A student has one such step: it pulls k times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.draws import standard_normal
from vpp_edge.export.distill.head import Sampler
from vpp_edge.export.distill.prefixes import random_prefixes
from vpp_edge.model.head import ActionHead

# Lowest noise level of a student with more than one step. Its last step starts there; with the teacher's 0.001 it would
# only repeat the step before.
STUDENT_SIGMA_MIN = 0.3
LOOKED_AT = 512  # observations, to count the teacher's pulls


def student_sampler(teacher: ActionHead, of: Sampler, contexts: Tensor, *, steps: int, seed: int) -> Sampler:
    """A sampler of `steps` steps that pulls to a prefix about as far as the teacher's sampler `of` does.

    Args:
        contexts: (N, T, D) of observations, from `contexts_of`.
    """
    pulls = counted_pulls(teacher, of, contexts[:LOOKED_AT], seed=seed)
    return Sampler(student_sigmas(steps, of.sigmas), prefix_pulls=pulls)


def student_sigmas(steps: int, teacher: Sequence[float]) -> tuple[float, ...]:
    """The noise levels of a student with `steps` steps: from the teacher's first, evenly in their logarithm."""
    if steps == 1:
        return (teacher[0], 0.0)
    levels = np.geomspace(teacher[0], STUDENT_SIGMA_MIN, steps)
    return (*map(float, levels), 0.0)


@torch.no_grad()
def counted_pulls(head: ActionHead, sampler: Sampler, contexts: Tensor, *, seed: int) -> int:
    """The most pulls, of one a step, that bring chunks no nearer to a prefix than sampling under it does; at least 1.

    The prefixes are those of training, but around the chunk itself: another mode's would move more than they pull.
    """
    randoms = [np.random.default_rng((seed, number)) for number in range(len(contexts))]
    noise = standard_normal(randoms, (contexts.shape[1], head.action_pred.out_features))
    free = sampler.chunks(head, contexts, noise=noise, prefix=noise, weight=torch.zeros(noise.shape[:2]))
    prefix, weight = random_prefixes(free, randoms)
    given = sampler.chunks(head, contexts, noise=noise, prefix=prefix, weight=weight)
    pulled = (weight > 0) & (weight < 1)
    kept, away, left = (1 - weight[pulled])[:, None], (free - prefix)[pulled], (given - prefix)[pulled]
    return max(1, sum(bool((kept**k * away).norm() > left.norm()) for k in range(1, len(sampler.sigmas))))
