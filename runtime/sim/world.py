"""Physics of the scene: moves hand and buttons from targets for wrist and joints."""

from __future__ import annotations

import math

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.scalar_rotation import difference, normalized, turned
from vpp_edge.runtime.sim.layout import COLOURS
from vpp_edge.runtime.sim.model import (
    JOINTS,
    WRIST_LAG_S,
    WRIST_LOWER_M,
    WRIST_SPEED_M_S,
    WRIST_TURN_RAD_S,
    WRIST_UPPER_M,
)
from vpp_edge.runtime.sim.mujoco_import import import_mujoco
from vpp_edge.runtime.sim.scene import STEP_S, apply_layout, scene_xml, turn_plate
from vpp_edge.runtime.sim.task import Episode
from vpp_edge.runtime.sim.worlds.kinds import KINDS, WorldKind
from vpp_edge.runtime.sim.worlds.turning import Plate
from vpp_edge.spec.pose import PoseLayout

_LOWER = np.array((*WRIST_LOWER_M, *(-1.0,) * 4, *(joint.lower_rad for joint in JOINTS)))
_UPPER = np.array((*WRIST_UPPER_M, *(1.0,) * 4, *(joint.upper_rad for joint in JOINTS)))
LAGGING = 1 - math.exp(-STEP_S / WRIST_LAG_S)


class World:
    """The hand of 12 position-controlled joints, on a wrist that follows its target, above the four buttons.

    Args:
        episode: the first episode; `enter` starts another one of the same kind.

    Attributes:
        episode: the current one.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
    """

    def __init__(self, episode: Episode) -> None:
        self._mujoco = import_mujoco()
        self._model = self._mujoco.MjModel.from_xml_string(scene_xml(episode.kind))
        self._data = self._mujoco.MjData(self._model)
        self._joints, self._buttons = self._data.qpos[: len(JOINTS)], self._data.qpos[len(JOINTS) :]
        self.enter(episode)

    def enter(self, episode: Episode) -> None:
        """Starts `episode`: everything is immediately at its start."""
        self._mujoco.mj_resetData(self._model, self._data)
        self._arrange(episode)
        x, y, z, *turn = episode.start[PoseLayout.WRIST].tolist()
        self._place, self._turn = (x, y, z), normalized(turn)
        self._place_wanted, self._turn_wanted = self._place, self._turn
        self._joints[:] = self._data.ctrl[:] = episode.start[PoseLayout.JOINTS]
        self._place_wrist()
        self._mujoco.mj_forward(self._model, self._data)

    def rearrange(self, episode: Episode) -> None:
        """Moves buttons, cameras and light to where `episode` has them; the hand stays where it is."""
        self._arrange(episode)
        self._buttons[:] = self._data.qvel[len(JOINTS) :] = 0

    def _arrange(self, episode: Episode) -> None:
        self.episode, self._steps = episode, 0
        apply_layout(self._mujoco, self._model, episode.layout)
        turn_plate(self._model, self._data, self.plate())

    def vector(self) -> np.ndarray:
        """(19,) float64, the hand's state in the layout of HandState.vector."""
        vector = np.empty(PoseLayout.dims(len(JOINTS)))
        vector[PoseLayout.POSITION], vector[PoseLayout.QUATERNION] = self._place, self._turn
        vector[PoseLayout.JOINTS] = self._joints
        return vector

    def depths_m(self) -> np.ndarray:
        """(4,) float64, how far each button is down, in the order of the layout."""
        return self._buttons.copy()

    def plate(self) -> Plate:
        """How the plate stands and turns."""
        return self.episode.layout.turning.plate_at(self._steps * STEP_S)

    def aim(self, target: np.ndarray) -> None:
        """Sets the target (19,), clamped to the positions that the hand can reach."""
        allowed = np.clip(target, _LOWER, _UPPER)
        self._place_wanted = (float(allowed[0]), float(allowed[1]), float(allowed[2]))
        self._turn_wanted = normalized(target[PoseLayout.QUATERNION].tolist())
        self._data.ctrl[:] = allowed[PoseLayout.JOINTS]

    def hold(self) -> None:
        """Makes the current pose the target."""
        self._place_wanted, self._turn_wanted = self._place, self._turn
        np.clip(self._joints, _LOWER[PoseLayout.JOINTS], _UPPER[PoseLayout.JOINTS], out=self._data.ctrl)

    def step(self) -> None:
        """Simulates STEP_S."""
        self._move_wrist()
        self._steps += 1
        turn_plate(self._model, self._data, self.plate())
        self._mujoco.mj_step(self._model, self._data)

    def _move_wrist(self) -> None:
        """One step towards the target: a first-order lag, limited in speed."""
        if self._place == self._place_wanted and self._turn == self._turn_wanted:
            return
        (x, y, z), (to_x, to_y, to_z) = self._place, self._place_wanted
        share = _share(math.dist(self._place, self._place_wanted), WRIST_SPEED_M_S)
        self._place = (x + share * (to_x - x), y + share * (to_y - y), z + share * (to_z - z))
        turn = difference(self._turn, self._turn_wanted)
        self._turn = turned(self._turn, turn, _share(math.hypot(*turn), WRIST_TURN_RAD_S))
        self._place_wrist()

    def _place_wrist(self) -> None:
        x, y, z, w = self._turn
        self._data.mocap_pos[0] = self._place
        self._data.mocap_quat[0] = (w, x, y, z)


def _share(distance: float, speed: float) -> float:
    """The share of a distance that one step covers within the speed limit."""
    return LAGGING if distance * LAGGING <= speed * STEP_S else speed * STEP_S / distance


SCENE_SIZE = 1 + len(COLOURS) + 3
_DEPTHS = slice(1, 1 + len(COLOURS))


def scene_of(world: World) -> np.ndarray:
    """(8,) float64: what images show besides the hand: the episode's seed, the depth of each button in m, angle in rad
    and speed in rad/s of the plate, and the number of the world's kind in KINDS."""
    plate, kind = world.plate(), world.episode.kind
    return np.array(
        (world.episode.seed, *world.depths_m(), plate.angle_rad, plate.speed_rad_s, KINDS.index(kind)), np.float64
    )


def depths_of(scene: np.ndarray) -> np.ndarray:
    """(4,) how far each button is down in a scene."""
    return scene[_DEPTHS]


def plate_of(scene: np.ndarray) -> Plate:
    """The plate in a scene."""
    return Plate(float(scene[-3]), float(scene[-2]))


def kind_of(scene: np.ndarray) -> WorldKind:
    """The kind of the world that a scene shows. Raises BadInputError if there is none of that number."""
    number = float(scene[-1])
    if number not in range(len(KINDS)):
        raise BadInputError(f"scene of world number {number:g}; expected 0 to {len(KINDS) - 1}")
    return KINDS[int(number)]
