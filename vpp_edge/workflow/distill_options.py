"""Options of `vpp-edge distill`, and where an unfinished student is kept. Imports neither numpy nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import COUNT, SEED, above, whole

HEAD_STEPS = whole(1, 10)
TRAINING_STEPS = whole(1, 1_000_000)
RATE = above(0, 1)
# (stage of the progress display, seconds on two cores for the demo policy)
PROGRESS_STAGES = (
    ("read", 2.0),
    ("teacher", 120.0),
    ("held-out", 20.0),
    ("head", 300.0),
    ("measure", 10.0),
    ("write", 1.0),
)


@dataclass(frozen=True)
class DistillOptions:
    """How a student is made.

    Attributes:
        dataset: recordings of the robot; the last quarter of them is held out.
        views: the views of the recordings for the policy's cameras, in their order; empty: the first ones.
        head_steps: sampling steps of the student's head.
        observations, held_out: how many to train and to measure on.
        steps, batch, rate: of the training.
        seed: of noise, prefixes and batches.
        resume: go on with a run that was interrupted.
    """

    dataset: Path
    views: tuple[str, ...] = ()
    head_steps: int = 2
    observations: int = 2000
    held_out: int = 64
    steps: int = 2000
    batch: int = 64
    rate: float = 3e-4
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        HEAD_STEPS.check("head_steps", self.head_steps)
        COUNT.check("observations", self.observations)
        COUNT.check("held_out", self.held_out)
        TRAINING_STEPS.check("steps", self.steps)
        COUNT.check("batch", self.batch)
        RATE.check("rate", self.rate)
        SEED.check("seed", self.seed)


def work_folder(target: Path) -> Path:
    """Where the state of an unfinished distillation is kept."""
    return target.with_name(f"{target.name}.distilling")


def check_target(target: Path, resume: bool) -> None:
    """Raises BadInputError unless a student can be written to `target`, before anything is computed."""
    if target.exists():
        raise BadInputError(f"{target} exists; choose another folder")
    work = work_folder(target)
    if work.exists() and not resume:
        raise BadInputError(f"{work}: an unfinished distillation; go on with --resume, or remove it")
    if resume and not work.exists():
        raise BadInputError(f"--resume: there is no unfinished distillation in {work}")
