"""The simulated hand: in, position targets; out, the state that physics leads to, at the pace of a clock.

Time passes when the hand is read or commanded: physics is then stepped up to the clock's present. With the system's
clock the hand keeps real time; with a clock driven by hand it is deterministic.
"""

from __future__ import annotations

import math
from types import TracebackType

import numpy as np

from vpp_edge.clock import Clock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.interfaces import HandLimits, HandState
from vpp_edge.runtime.rotation import difference, normalized, turned
from vpp_edge.runtime.sim.model import CLOSED_RAD, JOINTS, OPEN_RAD
from vpp_edge.runtime.sim.mujoco_import import import_mujoco
from vpp_edge.runtime.sim.scene import STEP_S, scene_xml

HOME = (0.33, -0.05, 0.38, -1.0, 0.0, 0.0, 0.0, *OPEN_RAD)  # palm down; the sign of recorded quaternions
STEP_NS = round(STEP_S * 1e9)
WATCHDOG_NS = 100_000_000
MAX_CATCH_UP_NS = 250_000_000  # the watchdog's time and enough to come to rest: later steps would change nothing
WRIST_LAG_S = 0.025
LIMITS = HandLimits(
    joint_names=tuple(joint.name for joint in JOINTS),
    joint_lower_rad=tuple(joint.lower_rad for joint in JOINTS),
    joint_upper_rad=tuple(joint.upper_rad for joint in JOINTS),
    joint_speed_rad_s=(6.0,) * len(JOINTS),
    joint_acceleration_rad_s2=(60.0,) * len(JOINTS),
    wrist_lower_m=(0.10, -0.45, 0.05),
    wrist_upper_m=(0.75, 0.40, 0.55),
    wrist_speed_m_s=0.5,
    wrist_turn_rad_s=1.5,
)


class SimHand:
    """A hand of 12 position-controlled joints in MuJoCo, on a wrist that goes where it is told. Context manager.

    Args:
        clock: whose time physics follows.

    Attributes:
        grip: joint angles of the open and of the closed hand, (12,) rad each.
        watchdog_holds: times no command came for 100 ms after one, and the hand held on its own.
        skipped_ns: time that was not simulated because nobody read or commanded the hand for longer than 250 ms.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
    """

    name = "sim"
    limits = LIMITS
    grip = (OPEN_RAD, CLOSED_RAD)

    def __init__(self, clock: Clock | None = None) -> None:
        self._mujoco = import_mujoco()
        self._clock = clock or MonotonicClock()
        self._model = self._mujoco.MjModel.from_xml_string(scene_xml())
        self._data = self._mujoco.MjData(self._model)
        self._lower = np.array((*LIMITS.wrist_lower_m, *(-1.0,) * 4, *LIMITS.joint_lower_rad))
        self._upper = np.array((*LIMITS.wrist_upper_m, *(1.0,) * 4, *LIMITS.joint_upper_rad))
        self._place, self._turn = (HOME[0], HOME[1], HOME[2]), normalized(HOME[3:7])
        self._place_wanted, self._turn_wanted = self._place, self._turn
        self._qpos, self._ctrl = self._data.qpos, self._data.ctrl
        self._qpos[:] = self._ctrl[:] = HOME[7:]
        self._place_wrist()
        self._mujoco.mj_forward(self._model, self._data)
        self._simulated_ns = self._clock.now_ns()
        self._held_from_ns: int | None = None  # when the watchdog holds, if no command comes before
        self._closed = False
        self.watchdog_holds = self.skipped_ns = 0

    def read(self) -> HandState:
        """The state as of now. Raises HardwareFaultError when the hand is closed."""
        self._check_open("read")
        self._pass_time()
        vector = np.empty(len(HOME))
        vector[:3], vector[3:7], vector[7:] = self._place, self._turn, self._qpos
        return HandState(vector, self._clock.now_ns())

    def send(self, target: np.ndarray) -> None:
        """Sets the target; what lies outside the limits' positions is brought to their edge, as a real hand does.

        Raises:
            BadInputError: not 19 finite numbers, or a quaternion of length 0; the target stays as it was.
            HardwareFaultError: the hand is closed.
        """
        self._check_open("be commanded")
        target = np.asarray(target, dtype=np.float64)
        if target.shape != self._lower.shape or not np.isfinite(target).all() or not target[3:7].any():
            raise BadInputError(
                f"hand target of shape {target.shape}: {target}; expected {self._lower.shape} finite numbers: wrist "
                "xyz in m, wrist quaternion (xyzw), joints in rad"
            )
        self._pass_time()
        allowed = np.clip(target, self._lower, self._upper)
        self._place_wanted = (float(allowed[0]), float(allowed[1]), float(allowed[2]))
        self._turn_wanted = normalized(target[3:7].tolist())
        self._ctrl[:] = allowed[7:]
        self._held_from_ns = self._simulated_ns + WATCHDOG_NS

    def hold(self) -> None:
        """Makes the measured pose the target. Does nothing to a closed hand."""
        if self._closed:
            return
        self._pass_time()
        self._hold_here()

    def close(self) -> None:
        """Holds and ends the simulation; may be called twice."""
        self.hold()
        self._closed = True

    def _hold_here(self) -> None:
        self._place_wanted, self._turn_wanted = self._place, self._turn
        np.clip(self._qpos, self._lower[7:], self._upper[7:], out=self._ctrl)
        self._held_from_ns = None

    def _pass_time(self) -> None:
        """Steps physics up to now; after a long silence only the first part of it, in which everything happened."""
        now_ns = self._clock.now_ns()
        end_ns = min(now_ns, self._simulated_ns + MAX_CATCH_UP_NS)
        while self._simulated_ns + STEP_NS <= end_ns:
            if self._held_from_ns is not None and self._simulated_ns >= self._held_from_ns:
                self._hold_here()
                self.watchdog_holds += 1
            self._move_wrist()
            self._mujoco.mj_step(self._model, self._data)
            self._simulated_ns += STEP_NS
        if end_ns < now_ns:
            self.skipped_ns += now_ns - self._simulated_ns
            self._simulated_ns = now_ns

    def _move_wrist(self) -> None:
        """One step towards the target: a first-order lag, no faster than the limits."""
        if self._place == self._place_wanted and self._turn == self._turn_wanted:
            return
        (x, y, z), (to_x, to_y, to_z) = self._place, self._place_wanted
        share = _share(math.dist(self._place, self._place_wanted), LIMITS.wrist_speed_m_s)
        self._place = (x + share * (to_x - x), y + share * (to_y - y), z + share * (to_z - z))
        turn = difference(self._turn, self._turn_wanted)
        share = _share(math.hypot(*turn), LIMITS.wrist_turn_rad_s)
        self._turn = turned(self._turn, turn, share)
        self._place_wrist()

    def _place_wrist(self) -> None:
        x, y, z, w = self._turn
        self._data.mocap_pos[0] = self._place
        self._data.mocap_quat[0] = (w, x, y, z)

    def _check_open(self, verb: str) -> None:
        if self._closed:
            raise HardwareFaultError(f"the simulated hand is closed and cannot {verb}; open another one")

    def __enter__(self) -> SimHand:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _share(distance: float, speed: float) -> float:
    """How much of a distance one step covers: never more than the speed limit allows."""
    lagging = 1 - math.exp(-STEP_S / WRIST_LAG_S)
    return lagging if distance * lagging <= speed * STEP_S else speed * STEP_S / distance


def sim_hand_from_address(address: str) -> SimHand:
    """The simulated hand, which has no address. Raises BadInputError when one is given."""
    if address:
        raise BadInputError(f"--hand sim:{address}: the simulated hand has no address; write --hand sim")
    return SimHand()
