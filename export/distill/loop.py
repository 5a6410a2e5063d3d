"""The training loop: trains modules on the loss of a batch, on one process or many, and goes on where it was killed.

Row r of the batch of step i draws from (seed, i, r), and nothing else is random. So an interrupted run takes the same
steps as an uninterrupted one, and so do any number of processes that share the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.export.distill.curve import Curve, curve_of
from vpp_edge.files.partial import PartialFile
from vpp_edge.installing import is_installed, pip_install
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted

SAVE_S = 60.0
NOTED = 100  # steps from one note, and one entry of a log, to the next
LossOf = Callable[[Sequence[np.random.Generator], int], Tensor]
"""`loss_of(rows, step)`: the mean loss of some rows of the batch of a step, each of which draws from its generator."""


@dataclass(frozen=True)
class Schedule:
    """How modules are trained: AdamW, warm-up, cosine decay to zero, and a moving average of the weights.

    Attributes:
        steps: of the optimizer.
        rate: highest learning rate; `warm_up` steps lead to it.
        batch: rows in the batch of a step, over all processes.
        decay: of the weights; `average`: share of its past that the moving average keeps; `clip`: norm of the gradient.
        optimizer: `adamw`, or `adamw8bit` of bitsandbytes.
        judge_every: steps from one judgement to the next; `patience`: judgements without a better one until the
            training ends; 0: it never ends early.
    """

    steps: int
    rate: float
    batch: int = 1
    warm_up: int = 100
    decay: float = 0.01
    average: float = 0.998
    clip: float = 1.0
    optimizer: str = "adamw"
    judge_every: int = 200
    patience: int = 0


@dataclass(frozen=True)
class Trainer:
    """Where a training runs, and who is told about it.

    Attributes:
        accelerator: an `accelerate.Accelerator`; None: this process alone, on the CPU.
        folder: holds the state from which a run goes on.
        seed: of all batches.
        accumulate: parts that each process computes its share of a batch in, one after another.
        report: gets the progress; `note`: the mean loss every NOTED steps, in words.
    """

    folder: Path
    seed: int
    accelerator: Any = None
    accumulate: int = 1
    report: ProgressCallback = ignore_progress
    note: Callable[[str], object] = lambda text: None

    @property
    def processes(self) -> int:
        return 1 if self.accelerator is None else int(self.accelerator.num_processes)

    @property
    def rank(self) -> int:
        return 0 if self.accelerator is None else int(self.accelerator.process_index)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu") if self.accelerator is None else self.accelerator.device

    def autocast(self) -> AbstractContextManager[Any]:
        """In which the loss is computed: in the precision of the accelerator."""
        return nullcontext() if self.accelerator is None else self.accelerator.autocast()

    def parts(self, batch: int) -> list[range]:
        """The rows of a batch that this process computes, in equal parts.

        Raises:
            BadInputError: the batch cannot be shared evenly.
        """
        count = self.processes * self.accumulate
        if batch % count:
            raise BadInputError(
                f"a batch of {batch} cannot be shared evenly by {counted(self.processes, 'process', 'processes')} in "
                f"{counted(self.accumulate, 'part')} each; choose a multiple of {count}"
            )
        return [range(part, batch, count) for part in range(self.rank, count, self.processes)]

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        return values if self.processes == 1 else self.accelerator.reduce(values, "mean")

    def wait(self) -> None:
        """Until all processes are here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()


@dataclass
class _State:
    """What a run goes on from."""

    step: int
    losses: list[float]
    averaged: dict[str, Tensor]
    judged: list[float]
    best: dict[str, Tensor]


def train(
    name: str,
    modules: dict[str, nn.Module],
    loss_of: LossOf,
    schedule: Schedule,
    trainer: Trainer,
    judge: Callable[[], float] | None = None,
) -> Curve:
    """Trains `modules` in place; they end up with the moving average of their weights, the best one that was judged.

    The start is judged too.

    Args:
        name: of the progress stage, and of the state in `trainer.folder`, `<name>.pt`.
        judge: the error of the modules as they are, lower is better.

    Returns:
        The losses of all steps, also of those before a resume, and the errors of all judgements.

    Raises:
        BadInputError: a loss is NaN or infinite, or the batch cannot be shared evenly.
    """
    weights = nn.ModuleDict(modules).to(trainer.device)
    named = {key: parameter for key, parameter in weights.named_parameters() if parameter.requires_grad}
    trained = list(named.values())
    optimizer = _optimizer(trained, schedule)
    state = _State(step=0, losses=[], averaged=_copied(named), judged=[], best={})
    state_file = trainer.folder / f"{name}.pt"
    with suppress(FileNotFoundError):
        kept = torch.load(state_file, weights_only=True, map_location=trainer.device)
        weights.load_state_dict(kept["weights"])
        optimizer.load_state_dict(kept["optimizer"])
        state = _State(**kept["state"])
    parts = trainer.parts(schedule.batch)
    if judge is not None and not state.judged:  # what few steps or few observations make worse stays as it starts
        trainer.note(f"{name}: held-out error {_judge(weights, named, state, judge):.4g} at the start")
    saved = time.monotonic()
    while state.step < schedule.steps and not _given_up(state, schedule):
        trainer.report(name, state.step / schedule.steps)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * _share(state.step, schedule)
        optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=trainer.device)
        for rows in parts:
            randoms = [np.random.default_rng((trainer.seed, state.step, row)) for row in rows]
            with trainer.autocast():
                part = loss_of(randoms, state.step) / len(parts)
            part.backward()
            loss += part.detach()
        state.losses.append(float(trainer.mean(loss)))
        if not math.isfinite(state.losses[-1]):
            raise BadInputError(f"{name}: the loss of step {state.step} is {state.losses[-1]}; train with a lower rate")
        _share_gradients(trained, trainer)
        nn.utils.clip_grad_norm_(trained, schedule.clip)
        optimizer.step()
        keep = min(schedule.average, (1 + state.step) / (10 + state.step))
        for key, parameter in named.items():
            state.averaged[key].lerp_(parameter.detach(), 1 - keep)
        state.step += 1
        last = state.step == schedule.steps
        error = None
        if judge is not None and (last or state.step % schedule.judge_every == 0):
            error = _judge(weights, named, state, judge)
            last = last or _given_up(state, schedule)
        if error is not None or state.step % NOTED == 0 or last:
            _tell(name, state, schedule, trainer, error=error)
        if trainer.rank == 0 and (last or time.monotonic() - saved > SAVE_S):
            kept = {"weights": weights.state_dict(), "optimizer": optimizer.state_dict(), "state": vars(state)}
            with PartialFile(state_file) as partial:
                torch.save(kept, partial.path)
                partial.complete()
            saved = time.monotonic()
    _put(named, state.best or state.averaged)
    return curve_of(state.losses, state.judged, schedule.judge_every)


def check_optimizer(name: str) -> None:
    """Raises MissingDependencyError where the optimizer's library is not installed."""
    if name == "adamw8bit" and not is_installed("bitsandbytes"):
        raise MissingDependencyError("bitsandbytes", "the optimizer adamw8bit", pip_install("adamw8bit"))


def _optimizer(trained: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    settings = {"lr": schedule.rate, "weight_decay": schedule.decay, "betas": (0.9, 0.99)}
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(trained, **settings)
    check_optimizer(schedule.optimizer)
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(trained, **settings)
    return optimizer


def _share_gradients(trained: list[nn.Parameter], trainer: Trainer) -> None:
    """Replaces gradients by their mean over all processes."""
    if trainer.processes == 1:
        return
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    mean = trainer.mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _copied(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in named.items()}


@torch.no_grad()
def _put(named: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Gives the parameters these values."""
    for key, parameter in named.items():
        parameter.copy_(values[key])


def _judge(
    weights: nn.ModuleDict, named: Mapping[str, nn.Parameter], state: _State, judge: Callable[[], float]
) -> float:
    """The error of the moving average, which is kept if it is the best one so far."""
    now = _copied(named)
    _put(named, state.averaged)
    weights.eval()
    state.judged.append(judge())
    if state.judged[-1] <= min(state.judged):
        state.best = _copied(state.averaged)
    weights.train()
    _put(named, now)
    return state.judged[-1]


def _given_up(state: _State, schedule: Schedule) -> bool:
    since_best = len(state.judged) - 1 - int(np.argmin(state.judged)) if state.judged else 0
    return 0 < schedule.patience <= since_best


def _tell(name: str, state: _State, schedule: Schedule, trainer: Trainer, *, error: float | None) -> None:
    loss = float(np.mean(state.losses[-NOTED:]))
    held_out = "" if error is None else f", held-out error {error:.4g}"
    trainer.note(f"{name}: step {state.step} of {schedule.steps}, loss {loss:.4g}{held_out}")
    if trainer.accelerator is not None:
        entry = {f"{name}/loss": loss} | ({} if error is None else {f"{name}/held-out": error})
        trainer.accelerator.log(entry, step=state.step)


def _share(step: int, schedule: Schedule) -> float:
    """Of the highest learning rate."""
    if step < schedule.warm_up:
        return (step + 1) / schedule.warm_up
    done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return 0.5 * (1 + math.cos(math.pi * done))
