"""What a sweep combines and how it measures. Imports neither numpy nor torch, so that a command can use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.student_spec import StudentSpec, student_spec
from vpp_edge.runtime.policy.act_schedule import ACTS_PER_LOOK, check_acts_per_look
from vpp_edge.runtime.policy.handover_modes import RTC, check_steps
from vpp_edge.workflow.closed_loop.bounds import DELAY_MS, EPISODES, EVALUATION_SEED
from vpp_edge.workflow.distill_options import HEAD_STEPS, DistillOptions

FULL = "full"
"""Name of a student with the teacher's video model, of which only the head is distilled."""

TEACHER = -1
"""In place of the index of a student's specification: the teacher itself."""

_SHORT = {"frames": "frames", "layers_per_block": "layers", "width": "width", "extract_layer_idx": "tap"}


@dataclass(frozen=True)
class Axes:
    """Values to combine; an empty axis stays that of the students' base.

    Attributes:
        frames, layers_per_block, width, extract_layer_idx: of the video model, as in `StudentSpec`.
        head_steps: sampling steps of the action head.
        precision: of the bundles.
        acts_per_look: chunks from the images of one observation.
    """

    frames: tuple[int, ...] = ()
    layers_per_block: tuple[int, ...] = ()
    width: tuple[float, ...] = ()
    extract_layer_idx: tuple[int, ...] = ()
    head_steps: tuple[int, ...] = (2,)
    precision: tuple[str, ...] = ("fp16",)
    acts_per_look: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for name, values in (("head steps", self.head_steps), ("precision", self.precision)):
            if not values:
                raise BadInputError(f"a sweep needs at least one value of {name}")
        for steps in self.head_steps:
            HEAD_STEPS.check("head_steps", steps)
        for acts in self.acts_per_look:
            ACTS_PER_LOOK.check("acts_per_look", acts)
        if unknown := [each for each in self.precision if each not in PRECISIONS]:
            raise BadInputError(f"precision {unknown[0]!r}; expected {', '.join(PRECISIONS)}")

    def students(self, base: StudentSpec | None) -> list[StudentSpec]:
        """A specification for every combination of sizes of the video model; what no axis says is that of `base`."""
        axes = {name: getattr(self, name) for name in _SHORT if getattr(self, name)}
        return [_student(base, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]


def _student(base: StudentSpec | None, sizes: dict[str, Any]) -> StudentSpec:
    if sizes.get("width") and base is not None:
        base = replace(base, block_out_channels=None)
    words = [*([base.name] if base else []), *(f"{_SHORT[name]}{value:g}" for name, value in sizes.items())]
    return replace(base or StudentSpec(), name="-".join(words) or FULL, **sizes)


@dataclass(frozen=True)
class Playing:
    """Episodes of the simulated task that every point plays.

    Attributes:
        world, chunking: as in `EvalSettings`.
        delay_ms: from an observation to its chunk; None: what the point's latency on the device is predicted to be.
    """

    world: str
    episodes: int = 100
    chunking: str = RTC
    delay_ms: float | None = None

    def __post_init__(self) -> None:
        EPISODES.check("episodes", self.episodes)
        if self.delay_ms is not None:
            DELAY_MS.check("delay_ms", self.delay_ms)


@dataclass(frozen=True)
class SweepOptions:
    """A sweep.

    Attributes:
        distill: how every student is made; its `student` is the base of all of them.
        device: whose predicted latency the points are compared by.
        playing: None: nothing is played.
        inferences: that are timed of each bundle here; 0: none.
    """

    axes: Axes
    distill: DistillOptions
    device: str
    playing: Playing | None = None
    inferences: int = 20
    resume: bool = False

    def __post_init__(self) -> None:
        if self.playing is None and self.axes.acts_per_look != (1,):
            raise BadInputError("several acts per look change only how episodes go; play some with --world")
        if self.playing is not None:
            EVALUATION_SEED.check("seed of the episodes", self.distill.seed)
            for steps in self.axes.head_steps:
                check_steps(self.playing.chunking, steps)
            for acts in self.axes.acts_per_look:
                check_acts_per_look(acts, self.playing.chunking)

    @property
    def base(self) -> StudentSpec | None:
        """The specification that all students are based on. Raises BadInputError where it is unusable."""
        return student_spec(self.distill.student) if self.distill.student else None


@dataclass(frozen=True)
class Making:
    """A bundle of a sweep, before it is played.

    Attributes:
        student: index of its specification, or TEACHER.
        steps: of its head.
    """

    name: str
    student: int
    steps: int
    precision: str


def makings(students: Sequence[StudentSpec], axes: Axes, teacher_steps: int) -> list[Making]:
    """The bundles of a sweep, those of the teacher first."""
    found = [
        Making(name=f"teacher-{precision}", student=TEACHER, steps=teacher_steps, precision=precision)
        for precision in axes.precision
    ]
    for number, spec in enumerate(students):
        for steps, precision in product(axes.head_steps, axes.precision):
            name = f"{student_name(spec, steps)}-{precision}"
            found.append(Making(name=name, student=number, steps=steps, precision=precision))
    return found


def student_name(spec: StudentSpec, steps: int) -> str:
    """Name of the checkpoint folder of a student with so many steps."""
    return f"{spec.name}-steps{steps}"
