"""The training loop: trains modules on the loss of a batch; a run that was killed goes on where it was.

Step i draws from (seed, i), so an interrupted run and an uninterrupted one take the same steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vpp_edge.errors import BadInputError
from vpp_edge.files.partial import PartialFile
from vpp_edge.progress import ProgressCallback, ignore_progress

SAVE_S = 60.0
NOTED = 100
LossOf = Callable[[np.random.Generator, int], Tensor]


@dataclass(frozen=True)
class Schedule:
    """How modules are trained: AdamW, warm-up, cosine decay to zero, and a moving average of the weights."""

    steps: int
    rate: float
    warm_up: int = 100
    decay: float = 0.01
    average: float = 0.998
    clip: float = 1.0


def train(
    name: str,
    modules: dict[str, nn.Module],
    loss_of: LossOf,
    schedule: Schedule,
    *,
    folder: Path,
    seed: int,
    report: ProgressCallback = ignore_progress,
    note: Callable[[str], object] = lambda text: None,
) -> list[float]:
    """Trains `modules` in place; they end up with the moving average of their weights.

    Args:
        name: of the progress stage, and of the state in `folder` from which a run goes on, `<name>.pt`.
        loss_of: called with the step's random generator and the step number.
        note: gets the mean loss every NOTED steps, in words.

    Returns:
        The loss of every step.

    Raises:
        BadInputError: a loss is NaN or infinite.
    """
    weights = nn.ModuleDict(modules)
    trained = [parameter for parameter in weights.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=schedule.rate, weight_decay=schedule.decay, betas=(0.9, 0.99))
    averaged = {key: value.detach().clone() for key, value in weights.state_dict().items()}
    state_file, first = folder / f"{name}.pt", 0
    losses: list[float] = []
    with suppress(FileNotFoundError):
        state = torch.load(state_file, weights_only=True)
        weights.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        averaged, first, losses = state["averaged"], state["step"], state["losses"]
    saved = time.monotonic()
    for step in range(first, schedule.steps):
        report(name, step / schedule.steps)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * _share(step, schedule)
        loss = loss_of(np.random.default_rng((seed, step)), step)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise BadInputError(f"{name}: the loss of step {step} is {losses[-1]}; train with a lower rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, schedule.clip)
        optimizer.step()
        keep = min(schedule.average, (1 + step) / (10 + step))
        for key, value in weights.state_dict().items():
            averaged[key].lerp_(value, 1 - keep)
        if (step + 1) % NOTED == 0:
            note(f"{name}: step {step + 1} of {schedule.steps}, loss {np.mean(losses[-NOTED:]):.4g}")
        if step + 1 == schedule.steps or time.monotonic() - saved > SAVE_S:
            state = {"weights": weights.state_dict(), "optimizer": optimizer.state_dict(), "averaged": averaged}
            with PartialFile(state_file) as partial:
                torch.save(state | {"step": step + 1, "losses": losses}, partial.path)
                partial.complete()
            saved = time.monotonic()
    weights.load_state_dict(averaged)
    return losses


def _share(step: int, schedule: Schedule) -> float:
    if step < schedule.warm_up:
        return (step + 1) / schedule.warm_up
    done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return 0.5 * (1 + math.cos(math.pi * done))
