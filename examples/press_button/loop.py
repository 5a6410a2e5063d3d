"""The training loop of all stages: trains modules on the loss of a batch, and can be resumed at any time."""

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

from vpp_edge.progress import Progress

SAVE_S = 60.0
LossOf = Callable[[np.random.Generator, int], Tensor]


def quick_products() -> torch.autocast:
    """Context in which products run in bfloat16: three times as fast with AVX-512. Without it, they stay in float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled="AVX512" in torch.backends.cpu.get_cpu_capability())


@dataclass(frozen=True)
class Schedule:
    """How a stage is trained: AdamW, warm-up, cosine decay to zero, and a moving average of the weights."""

    steps: int
    rate: float
    warm_up: int = 100
    decay: float = 0.01
    average: float = 0.998
    clip: float = 1.0


def train(
    name: str, modules: dict[str, nn.Module], loss_of: LossOf, schedule: Schedule, folder: Path, seed: int
) -> None:
    """Trains `modules` in place; they end up with the moving average of their weights.

    Step i seeds its random generator with (seed, i), so a resumed run reaches the same weights.

    Args:
        loss_of: called with the step's random generator and the step number.
        folder: contains `<name>.pt`, the state from which a run resumes.
    """
    weights = nn.ModuleDict(modules)
    optimizer = torch.optim.AdamW(
        weights.parameters(), lr=schedule.rate, weight_decay=schedule.decay, betas=(0.9, 0.99)
    )
    averaged = {key: value.detach().clone() for key, value in weights.state_dict().items()}
    state_file, first, losses = folder / f"{name}.pt", 0, []
    with suppress(FileNotFoundError):
        state = torch.load(state_file, weights_only=True)
        weights.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        averaged, first, losses = state["averaged"], state["step"], state["losses"]

    def save(step: int) -> None:
        state = {"weights": weights.state_dict(), "optimizer": optimizer.state_dict(), "averaged": averaged}
        partial = state_file.with_suffix(".partial")
        torch.save(state | {"step": step, "losses": losses}, partial)
        partial.rename(state_file)

    saved = time.monotonic()
    with Progress(name, [(name, 1.0)]) as progress:
        progress(name, first / schedule.steps)
        for step in range(first, schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * _share(step, schedule)
            loss = loss_of(np.random.default_rng((seed, step)), step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(weights.parameters(), schedule.clip)
            optimizer.step()
            keep = min(schedule.average, (1 + step) / (10 + step))
            for key, value in weights.state_dict().items():
                averaged[key].lerp_(value, 1 - keep)
            losses.append(float(loss.detach()))
            if (step + 1) % 100 == 0:
                progress.note(f"{name}: step {step + 1} of {schedule.steps}, loss {np.mean(losses[-100:]):.4f}")
            progress.update((step + 1) / schedule.steps)
            if time.monotonic() - saved > SAVE_S:
                save(step + 1)
                saved = time.monotonic()
    if first < schedule.steps:
        save(schedule.steps)
    weights.load_state_dict(averaged)


def _share(step: int, schedule: Schedule) -> float:
    if step < schedule.warm_up:
        return (step + 1) / schedule.warm_up
    done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return 0.5 * (1 + math.cos(math.pi * done))
