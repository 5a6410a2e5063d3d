"""The simulated hand: follows position targets by physics, in the time of a clock.

Time passes when the hand is read or commanded: physics then catches up with the clock. With the system clock the hand
runs in real time; with a FakeClock it is deterministic.
"""

from __future__ import annotations

from types import TracebackType

import numpy as np

from vpp_edge.clock import Clock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.number_range import SEED
from vpp_edge.runtime.interfaces import HandState
from vpp_edge.runtime.sim.model import (
    CLOSED_RAD,
    JOINTS,
    OPEN_RAD,
    WRIST_LOWER_M,
    WRIST_SPEED_M_S,
    WRIST_TURN_RAD_S,
    WRIST_UPPER_M,
)
from vpp_edge.runtime.sim.scene import STEP_S
from vpp_edge.runtime.sim.task import START, Episode, episode_from_seed
from vpp_edge.runtime.sim.world import SCENE_SIZE, World, scene_of
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout

STEP_NS = round(STEP_S * 1e9)
WATCHDOG_NS = 100_000_000
MAX_CATCH_UP_NS = 250_000_000  # the watchdog's time and enough to come to rest: later steps change nothing
# From full speed to rest in 70 ms, plus 20 ms to ramp the acceleration up and down: a stop takes 90 ms.
LIMITS = HandLimits(
    joint_names=tuple(joint.name for joint in JOINTS),
    joint_lower_rad=tuple(joint.lower_rad for joint in JOINTS),
    joint_upper_rad=tuple(joint.upper_rad for joint in JOINTS),
    joint_speed_rad_s=(6.0,) * len(JOINTS),
    joint_acceleration_rad_s2=(6.0 / 0.07,) * len(JOINTS),
    joint_jerk_rad_s3=(6000.0,) * len(JOINTS),
    joint_tracking_rad=(0.6,) * len(JOINTS),
    wrist_lower_m=WRIST_LOWER_M,
    wrist_upper_m=WRIST_UPPER_M,
    wrist_speed_m_s=WRIST_SPEED_M_S,
    wrist_acceleration_m_s2=2 * WRIST_SPEED_M_S / 0.07,
    wrist_jerk_m_s3=1000.0,
    wrist_turn_rad_s=WRIST_TURN_RAD_S,
    wrist_turn_acceleration_rad_s2=WRIST_TURN_RAD_S / 0.07,
    wrist_turn_jerk_rad_s3=1500.0,
    wrist_tracking_m=0.05,
    wrist_tracking_rad=0.4,
)


class SimHand:
    """The hand of `sim.world`, in the time of a clock. Context manager.

    Args:
        clock: the time that physics follows.
        episode: where hand and buttons start; None: the hand at START, the buttons of episode 0.

    Attributes:
        world: hand and buttons.
        grip: joint angles of the open and of the closed hand, (12,) rad each.
        watchdog_holds: number of times that no command followed within 100 ms and the hand held by itself.
        skipped_ns: time that was not simulated, because the hand was neither read nor commanded for over 250 ms.

    Raises:
        MissingDependencyError: MuJoCo is not installed.
    """

    name = "sim"
    limits = LIMITS
    simulated = True
    scene_size = SCENE_SIZE
    grip = (OPEN_RAD, CLOSED_RAD)

    def __init__(self, clock: Clock | None = None, episode: Episode | None = None) -> None:
        self._clock = clock or MonotonicClock()
        self.world = World(episode or Episode(0, episode_from_seed(0).layout, "red", np.array(START)))
        self._simulated_ns = self._clock.now_ns()
        self._held_from_ns: int | None = None  # when the watchdog will hold unless a command comes first
        self._closed = False
        self._next_episode: Episode | None = None
        self.watchdog_holds = self.skipped_ns = 0

    def read(self) -> HandState:
        """The state as of now. Raises HardwareFaultError when the hand is closed."""
        self._check_open("read")
        self._pass_time()
        return HandState(self.world.vector(), self._clock.now_ns(), scene_of(self.world))

    def send(self, target: np.ndarray) -> None:
        """Sets the target, clamped to the position limits, as a real hand does.

        Raises:
            BadInputError: not 19 finite numbers, or a quaternion of length 0; the target does not change.
            HardwareFaultError: the hand is closed.
        """
        self._check_open("be commanded")
        target = np.asarray(target, dtype=np.float64)
        right_shape = target.shape == (LIMITS.pose_dims,)
        if not right_shape or not np.isfinite(target).all() or not target[PoseLayout.QUATERNION].any():
            raise BadInputError(
                f"hand target of shape {target.shape}: {target}; expected ({LIMITS.pose_dims},) finite numbers: wrist "
                "xyz in m, wrist quaternion (xyzw), joints in rad"
            )
        self._pass_time()
        self.world.aim(target)
        self._held_from_ns = self._simulated_ns + WATCHDOG_NS

    def rearrange(self, episode: Episode) -> None:
        """Moves the buttons to where `episode` has them, at the next read or send; may be called from any thread."""
        self._next_episode = episode

    def hold(self) -> None:
        """Makes the measured pose the target. Does nothing on a closed hand."""
        if self._closed:
            return
        self._pass_time()
        self._hold_here()

    def close(self) -> None:
        """Holds and ends the simulation; may be called twice."""
        self.hold()
        self._closed = True

    def _hold_here(self) -> None:
        self.world.hold()
        self._held_from_ns = None

    def _pass_time(self) -> None:
        """Steps physics up to now; after a long silence only its first part, after which the hand is at rest."""
        if (episode := self._next_episode) is not None:
            self._next_episode = None
            self.world.rearrange(episode)
        now_ns = self._clock.now_ns()
        end_ns = min(now_ns, self._simulated_ns + MAX_CATCH_UP_NS)
        while self._simulated_ns + STEP_NS <= end_ns:
            if self._held_from_ns is not None and self._simulated_ns >= self._held_from_ns:
                self._hold_here()
                self.watchdog_holds += 1
            self.world.step()
            self._simulated_ns += STEP_NS
        if end_ns < now_ns:
            self.skipped_ns += now_ns - self._simulated_ns
            self._simulated_ns = now_ns

    def _check_open(self, verb: str) -> None:
        if self._closed:
            raise HardwareFaultError(f"the simulated hand is closed and cannot {verb}; open another one")

    def __enter__(self) -> SimHand:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def sim_hand_from_address(address: str) -> SimHand:
    """The simulated hand; its address is the seed of the episode that it starts in, and may be empty.

    Raises:
        BadInputError: the address is not a seed.
    """
    if not address:
        return SimHand()
    if (seed := SEED.parsed(address)) is None:
        raise BadInputError(f"--hand sim:{address:.60}: the address of the simulated hand is a seed, {SEED}")
    return SimHand(episode=episode_from_seed(seed))
