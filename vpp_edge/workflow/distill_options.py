"""Options of `vpp-edge distill`, and where an unfinished student is kept. Imports neither numpy nor torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vpp_edge.checkpoint.choices import Choices
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.number_range import COUNT, SEED, above, whole
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS
from vpp_edge.workflow.closed_loop.bounds import EPISODES

HEAD_STEPS = whole(1, 10)
DISK_LIMIT_GIB = above(0, 1e6)


@dataclass(frozen=True)
class DistillOptions:
    """How a student is made.

    Attributes:
        datasets: folders of recordings of the robot; the last quarter of the first one is held out.
        choices: how the teacher's checkpoint is read.
        views: the views of the recordings for the policy's cameras, in their order; empty: the first ones.
        student: name or file of the student's specification; None: the video model stays the teacher's.
        head_steps: sampling steps of the student's head.
        observations, held_out: how many to train and to measure on.
        disk_limit_gib: most that the teacher's outputs may take.
        training: how it is trained.
        seed: of noise, prefixes, batches and episodes.
        resume: go on with a run that was interrupted.
        closed_loop: episodes that student and teacher play in each of `worlds`; None: none.
    """

    datasets: tuple[Path, ...]
    choices: Choices = field(default_factory=Choices)
    views: tuple[str, ...] = ()
    student: str | None = None
    head_steps: int = 2
    observations: int = 2000
    held_out: int = 64
    disk_limit_gib: float = 100.0
    training: TrainingOptions = field(default_factory=TrainingOptions)
    seed: int = 0
    resume: bool = False
    closed_loop: int | None = None
    worlds: tuple[str, ...] = (BUTTONS.name,)

    def __post_init__(self) -> None:
        HEAD_STEPS.check("head_steps", self.head_steps)
        COUNT.check("observations", self.observations)
        COUNT.check("held_out", self.held_out)
        DISK_LIMIT_GIB.check("disk_limit_gib", self.disk_limit_gib)
        SEED.check("seed", self.seed)
        if self.closed_loop is not None:
            EPISODES.check("closed_loop", self.closed_loop)


def progress_stages(options: DistillOptions) -> list[tuple[str, float]]:
    """(stage of the progress display, seconds on two cores for the demo policy)."""
    steps = options.training.steps
    video = [("encoder", 0.1 * steps), ("video", 0.5 * steps), ("student", 60.0)] if options.student else []
    playing = []
    if options.closed_loop is not None:
        seconds = 3.0 * options.closed_loop * len(options.worlds)
        playing = [("export student", 50.0), ("export teacher", 50.0), ("play", seconds)]
    return [
        ("read", 2.0),
        ("teacher", 0.08 * options.observations),
        ("held-out", 0.08 * options.held_out),
        *video,
        ("head", 0.3 * options.training.head_steps),
        ("measure", 10.0),
        *playing,
        ("write", 1.0),
    ]


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
