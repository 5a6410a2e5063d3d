"""The simulated task, "press the red button": episodes from seeds, and the judge of their outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.sim.layout import COLOURS, Layout, layout_from_seed
from vpp_edge.runtime.sim.model import OPEN_RAD
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.rotation import quaternion_from_rpy, quaternion_product

PRESSED_M = 0.005
TIME_LIMIT_S = 8.0
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
    """

    seed: int
    layout: Layout
    colour: str
    start: np.ndarray

    @property
    def instruction(self) -> str:
        return instruction_for(self.colour)


def instruction_for(colour: str) -> str:
    """The instruction to press the button of a colour."""
    return f"press the {colour} button"


def episode_from_seed(seed: int) -> Episode:
    """The episode of a seed; the same seed gives the same episode on every machine."""
    random = np.random.default_rng((seed, 2))
    start = np.array(START)
    start[PoseLayout.POSITION] += random.uniform(-1, 1, 3) * START_TOLERANCE_M
    turn = quaternion_from_rpy(random.uniform(-1, 1, 3) * START_TURN_RAD)
    start[PoseLayout.QUATERNION] = quaternion_product(turn, start[PoseLayout.QUATERNION])
    joints = start[PoseLayout.JOINTS] + random.uniform(-1, 1, len(OPEN_RAD)) * START_JOINT_RAD
    start[PoseLayout.JOINTS] = np.maximum(joints, 0.0)
    return Episode(seed, layout_from_seed(seed), COLOURS[random.integers(len(COLOURS))], start)


class Judge:
    """Judges an episode by its buttons.

    Attributes:
        verdict: `running`, `success`, `wrong button` or `out of time`; final once it is not `running`.
        pressed: colours of the buttons that were down at the verdict.
        seconds: time of the verdict.
    """

    def __init__(self, episode: Episode, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._colour, self._time_limit_s = episode.colour, time_limit_s
        self.verdict, self.seconds = "running", 0.0
        self.pressed: tuple[str, ...] = ()

    def look(self, depths_m: np.ndarray, seconds: float) -> str:
        """Updates and returns the verdict, from the buttons' depths (4,), in the order of COLOURS.

        Success: the requested button, and no other, is more than 5 mm down before the time is up.
        """
        if self.verdict != "running":
            return self.verdict
        self.seconds = seconds
        self.pressed = tuple(c for c, depth in zip(COLOURS, depths_m, strict=True) if depth > PRESSED_M)
        if self.pressed:
            self.verdict = "success" if self.pressed == (self._colour,) else "wrong button"
        elif seconds >= self._time_limit_s:
            self.verdict = "out of time"
        return self.verdict
