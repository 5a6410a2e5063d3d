"""Where a training runs: this process alone, or what `accelerate launch` started, GPUs included."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vpp_edge.errors import MissingDependencyError
from vpp_edge.export.distill.loop import Trainer, check_optimizer
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.installing import is_installed, pip_install
from vpp_edge.progress import ProgressCallback


def process_rank() -> int:
    """Number of this process among those that a launcher started; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def open_trainer(
    options: TrainingOptions, *, folder: Path, seed: int, report: ProgressCallback, note: Callable[[str], object]
) -> Trainer:
    """A trainer as the options, the launcher and the machine want it.

    Raises:
        MissingDependencyError: accelerate, or the library of the optimizer or the log, is not installed.
    """
    check_optimizer(options.optimizer)  # before the teacher's part, which takes long
    accelerator: Any = None
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if launched or torch.cuda.is_available() or options.mixed_precision != "no" or options.log_with:
        accelerator = _accelerator(options, folder)
    return Trainer(
        folder=folder, seed=seed, accelerator=accelerator, accumulate=options.accumulate, report=report, note=note
    )


def _accelerator(options: TrainingOptions, folder: Path) -> Any:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingDependencyError(
            "accelerate",
            "training on GPUs, on many processes, in mixed precision or with a log",
            pip_install("distill"),
        ) from error
    _check_log_library(options.log_with)
    logs = folder.with_name(f"{folder.name}-logs") if options.log_with else None
    accelerator = Accelerator(mixed_precision=options.mixed_precision, log_with=options.log_with, project_dir=logs)
    if options.log_with:
        accelerator.init_trackers("distill")
    return accelerator


def _check_log_library(name: str | None) -> None:
    """accelerate itself only warns, and would keep no log."""
    if name is None or is_installed(name):
        return
    other = f"{shlex.quote(sys.executable)} -m pip install {name}"  # in no extra
    raise MissingDependencyError(name, f"--log-with {name}", pip_install("distill") if name == "tensorboard" else other)
