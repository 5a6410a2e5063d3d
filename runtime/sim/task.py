"""The simulated task, "press the red button": episodes of a world from seeds, and the judge of their outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.sim.layout import COLOURS, Layout, layout_from_seed
from vpp_edge.runtime.sim.model import OPEN_RAD
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, WorldKind
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.rotation import quaternion_from_rpy, quaternion_product

PRESSED_M = 0.005
PALM_DOWN = (-1.0, 0.0, 0.0, 0.0)  # xyzw; the sign of recorded quaternions
START = (0.26, -0.05, 0.25, *PALM_DOWN, *OPEN_RAD)
START_TOLERANCE_M = (0.03, 0.05, 0.03)
START_TURN_RAD = (0.06, 0.06, 0.15)
START_JOINT_RAD = 0.10


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        colour: of the button to press.
        start: (19,) start pose of the hand, in the layout of HandState.vector.
        kind: of the world.
    """

    seed: int
    layout: Layout
    colour: str
    start: np.ndarray
    kind: WorldKind = BUTTONS

    @property
    def instruction(self) -> str:
        return self.kind.instruction.format(colour=self.colour)

    @property
    def buttons(self) -> tuple[int, ...]:
        """Those of the requested colour, by their number in the layout."""
        return tuple(i for i, colour in enumerate(self.layout.colours) if colour == self.colour)


def instructions_of(kind: WorldKind) -> tuple[str, ...]:
    """All instructions of a world, one per colour."""
    return tuple(kind.instruction.format(colour=colour) for colour in COLOURS)


def episode_from_seed(seed: int, kind: WorldKind = BUTTONS) -> Episode:
    """The episode of a seed; the same seed gives the same episode on every machine."""
    random = np.random.default_rng((seed, 2))
    start = np.array(START)
    start[PoseLayout.POSITION] += random.uniform(-1, 1, 3) * START_TOLERANCE_M
    turn = quaternion_from_rpy(random.uniform(-1, 1, 3) * START_TURN_RAD)
    start[PoseLayout.QUATERNION] = quaternion_product(turn, start[PoseLayout.QUATERNION])
    joints = start[PoseLayout.JOINTS] + random.uniform(-1, 1, len(OPEN_RAD)) * START_JOINT_RAD
    start[PoseLayout.JOINTS] = np.maximum(joints, 0.0)
    layout = layout_from_seed(seed, kind)
    asked = [colour for colour in COLOURS if layout.colours.count(colour) == kind.alike]
    return Episode(seed, layout, asked[random.integers(len(asked))], start, kind=kind)


class Judge:
    """Judges an episode by its buttons.

    Args:
        time_limit_s: None: the world's.

    Attributes:
        verdict: `running`, `success`, `wrong button` or `out of time`; final once it is not `running`.
        pressed: colours of the buttons that were down at the verdict.
        seconds: time of the verdict.
    """

    def __init__(self, episode: Episode, time_limit_s: float | None = None) -> None:
        self._colour, self._colours = episode.colour, episode.layout.colours
        self._time_limit_s = episode.kind.time_limit_s if time_limit_s is None else time_limit_s
        self.verdict, self.seconds = "running", 0.0
        self.pressed: tuple[str, ...] = ()

    def look(self, depths_m: np.ndarray, seconds: float) -> str:
        """Updates and returns the verdict, from the buttons' depths (4,), in the order of the layout.

        Success: a button of the requested colour, and none of another, is more than 5 mm down before the time is up.
        """
        if self.verdict != "running":
            return self.verdict
        self.seconds = seconds
        self.pressed = tuple(c for c, depth in zip(self._colours, depths_m, strict=True) if depth > PRESSED_M)
        if self.pressed:
            self.verdict = "success" if set(self.pressed) == {self._colour} else "wrong button"
        elif seconds >= self._time_limit_s:
            self.verdict = "out of time"
        return self.verdict
