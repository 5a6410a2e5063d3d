"""Arrays that take long to make: in, a file and how to make it; out, the array, made only once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def kept_tensor(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives, from `file` (.npy) where it has been made before."""
    if not file.exists():
        partial = file.with_suffix(".partial.npy")
        np.save(partial, make().numpy())
        partial.rename(file)
    return torch.from_numpy(np.load(file))
