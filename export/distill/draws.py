"""What the rows of a batch draw, each from a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def chosen_rows(randoms: Sequence[np.random.Generator], count: int) -> list[int]:
    """One of `count` observations for each row."""
    return [int(random.integers(count)) for random in randoms]


def standard_normal(randoms: Sequence[np.random.Generator], shape: tuple[int, ...]) -> Tensor:
    """(B, ...) float32 noise, of a shape for each sample."""
    return torch.from_numpy(np.stack([random.standard_normal(shape, dtype=np.float32) for random in randoms]))
