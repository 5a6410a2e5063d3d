"""Random prefixes, as real-time chunking gives them to a policy: in, chunks of the teacher; out, prefixes and weights.

While a chunk is executed, the next one is sampled with its first actions given and the later ones pulled, less and
less, to what is executed. How many are given depends on the latency of the board, so a student sees every combination.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vpp_edge.export.distill.draws import standard_normal
from vpp_edge.spec.prefix import prefix_weights

FREE_SHARE = 0.3  # of the samples have no prefix: the first chunk of an episode, and chunking without prefixes
OTHER_SPREAD = 0.05  # rms, normalized: the hand is never exactly where an earlier chunk wanted it


def random_prefixes(chunks: Tensor, randoms: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
    """Prefixes (B, T, A) and their weights (B, T) for the samples whose teacher would execute `chunks` (B, T, A).

    Args:
        chunks: of the teacher at the same observations, from other noise: what could be being executed.
        randoms: one for each sample.
    """
    _, horizon, dims = chunks.shape
    noise = standard_normal(randoms, (1, dims)).to(chunks.device)
    weights = np.stack([_weights(horizon, random) for random in randoms])
    return chunks + OTHER_SPREAD * noise, torch.from_numpy(weights).to(chunks.device)


def _weights(horizon: int, random: np.random.Generator) -> np.ndarray:
    """(T,): of a random delay and a random rest of the present chunk."""
    if random.random() < FREE_SHARE:
        return np.zeros(horizon, np.float32)
    frozen = int(random.integers(1, horizon + 1))
    return prefix_weights(horizon, frozen, covered=int(random.integers(frozen, horizon + 1)))
