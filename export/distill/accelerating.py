"""Where a training runs: this process alone, or what `accelerate launch` started, GPUs included."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vpp_edge.errors import MissingDependencyError
from vpp_edge.export.distill.loop import Trainer
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.installing import pip_install
from vpp_edge.progress import ProgressCallback


def process_rank() -> int:
    """Number of this process among those that a launcher started; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def open_trainer(
    options: TrainingOptions, *, folder: Path, seed: int, report: ProgressCallback, note: Callable[[str], object]
) -> Trainer:
    """A trainer as the options, the launcher and the machine want it.

    Raises:
        MissingDependencyError: accelerate, or the library of the log, is not installed.
    """
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
    logs = folder.with_name(f"{folder.name}-logs") if options.log_with else None
    accelerator = Accelerator(mixed_precision=options.mixed_precision, log_with=options.log_with, project_dir=logs)
    if options.log_with:
        accelerator.init_trackers("distill")
    return accelerator
