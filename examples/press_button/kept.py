"""Caches expensive arrays in files, so that each is computed only once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def kept_tensor(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """The result of `make`, loaded from `file` (.npy) if it was computed before."""
    if not file.exists():
        partial = file.with_suffix(".partial.npy")
        np.save(partial, make().numpy())
        partial.rename(file)
    return torch.from_numpy(np.load(file))
