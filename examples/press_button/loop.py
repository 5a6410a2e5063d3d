"""The training loop of all stages: that of the package, with its progress on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vpp_edge.export.distill import loop
from vpp_edge.export.distill.loop import Schedule
from vpp_edge.progress import Progress

LossOf = Callable[[np.random.Generator, int], Tensor]


def quick_products(frames: int = 1) -> torch.autocast:
    """Context in which products run in bfloat16 where that is quicker and right; elsewhere they stay in float32.

    It is quicker with AVX-512: on an AMD EPYC without AMX (PyTorch 2.13.0, one thread), 2.5 times for encoding images,
    1.2 times for a step of the video model. There, with two frames, it gains nothing, and the gradient of a
    convolution over time, a Conv3d of kernel (3, 1, 1), is NaN or noise; with 1, 3, 4, 5, 6, 8 and 16 frames it is
    right.

    Args:
        frames: that convolutions over time see.
    """
    avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.autocast("cpu", torch.bfloat16, enabled=avx512 and frames != 2)


def train(
    name: str, modules: dict[str, nn.Module], loss_of: LossOf, schedule: Schedule, *, folder: Path, seed: int
) -> None:
    """Trains `modules` in place and shows the progress; see the package's `train`.

    Args:
        loss_of: `loss_of(random, step)`, the mean loss of a batch that it draws from `random`.
    """

    def loss_of_row(randoms: Sequence[np.random.Generator], step: int) -> Tensor:
        return loss_of(randoms[0], step)

    with Progress(name, [(name, 1.0)]) as progress:
        trainer = loop.Trainer(folder=folder, seed=seed, report=progress, note=progress.note)
        loop.train(name, modules, loss_of_row, schedule=schedule, trainer=trainer)
