"""Trials of faults of a hand and its bus: the real LEAP driver on simulated servos.

They do not depend on the policy, and the bundle's is made for another hand, so a scripted policy swings the joints.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from vpp_edge.errors import CheckFailedError, InconclusiveError
from vpp_edge.runtime.chaos.pace import Pace
from vpp_edge.runtime.chaos.result import TrialResult, unless, unless_ended_by, unless_normal_end
from vpp_edge.runtime.chaos.trial import Trial, TrialSetup
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.hands.leap import LeapHand
from vpp_edge.runtime.hands.leap_config import LeapConfig
from vpp_edge.runtime.hands.simulators.dynamixel_bus import DynamixelBus
from vpp_edge.runtime.interfaces import Camera, CameraStatistics, Frame, LatestState
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.run import run_session
from vpp_edge.spec.hand_limits import HandLimits

JOINTS = 16
SWING = f"latency_ms=30,joints={JOINTS}"
WATCHDOG_MS, WATCHDOG_BOUND_MS = 80, 100.0
CENTER, SWUNG = 2048, 150  # encoder counts
MAX_WAIT_S = 30.0
NOISE_SIZE = (48, 64, 3)
BUSY = "nothing was broken yet, but the simulated servos did not keep up, as on a busy machine"
LIMITS = HandLimits(
    joint_names=tuple(f"joint {i}" for i in range(JOINTS)),
    joint_lower_rad=(-0.5,) * JOINTS,
    joint_upper_rad=(1.5,) * JOINTS,
    joint_speed_rad_s=(2.0,) * JOINTS,
    joint_acceleration_rad_s2=(30.0,) * JOINTS,
    joint_jerk_rad_s3=(2000.0,) * JOINTS,
    joint_tracking_rad=(0.4,) * JOINTS,
    wrist_lower_m=(-0.001,) * 3,
    wrist_upper_m=(0.001,) * 3,
    wrist_speed_m_s=0.1,
    wrist_acceleration_m_s2=5.0,
    wrist_jerk_m_s3=500.0,
    wrist_turn_rad_s=0.5,
    wrist_turn_acceleration_rad_s2=10.0,
    wrist_turn_jerk_rad_s3=1000.0,
    wrist_tracking_m=0.01,
    wrist_tracking_rad=4.0,
)
CONFIG = LeapConfig(
    limits=LIMITS,
    wrist=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    servo_ids=tuple(range(JOINTS)),
    zero_rad=(3.14159,) * JOINTS,
    direction=(1,) * JOINTS,
    current_limit_ma=300,
    hold_current_ma=100,
    hottest_celsius=60,
    cooled_celsius=50,
    watchdog_ms=WATCHDOG_MS,
    baud=4_000_000,
    read_ms=6.0,
    torque_off_at_close=False,
)


@dataclass(frozen=True)
class NoiseCamera:
    """A CameraSource of random frames, which all differ: the scripted policy does not look at them."""

    fps: float = 30.0
    name: str = "noise"
    view: str = ""
    image_size: tuple[int, int] = (NOISE_SIZE[1], NOISE_SIZE[0])

    def open(self, latest_state: LatestState | None = None) -> Camera:
        return _Noise(self.fps)


class _Noise:
    def __init__(self, fps: float) -> None:
        self.name, self.statistics = "noise", CameraStatistics()
        self._period_ns, self._number = round(1e9 / fps), 0
        self._random, self._due_ns = np.random.default_rng(0), time.monotonic_ns()

    def read(self, timeout_ns: int) -> Frame:
        self._due_ns = max(self._due_ns + self._period_ns, time.monotonic_ns() - self._period_ns)
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) / 1e9)
        self._number += 1
        return Frame(self._random.integers(0, 256, NOISE_SIZE, np.uint8), self._number, time.monotonic_ns())

    def close(self) -> None:
        pass

    def __enter__(self) -> _Noise:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _run(setup: TrialSetup, inject: Callable[[DynamixelBus], None], seconds: float = 3.0) -> Trial:
    """A run of the LEAP driver on a simulated bus; `inject` breaks something on the bus.

    Raises:
        InconclusiveError: the run ended before that.
    """
    with DynamixelBus(range(JOINTS)) as bus:
        on_bus = replace(
            setup,
            bundle=SWING,
            cameras=(NoiseCamera(), NoiseCamera()),
            instruction="swing",
            open_hand=lambda: LeapHand(bus.device, CONFIG),
            options={"backend": "scripted"},
            pace=Pace(),
        )
        try:
            return Trial(on_bus, lambda trial: inject(bus), seconds).run()
        except CheckFailedError as error:
            raise InconclusiveError(f"{BUSY}: {error}") from error


def _stop_result(trial: Trial, *, bound_periods: int, reason: str) -> TrialResult:
    """A result judged by the time from the fault to the last command; the run must have ended for this reason."""
    return TrialResult(
        observed=trial.report.ended.partition(". ")[0].removeprefix("fault: "),
        measured_ms=max(0.0, float(trial.times_ns[-1] - trial.injected_ns) / 1e6),
        bound_ms=bound_periods * trial.report.period_ms,
        measures="until the last command",
        problems=unless_ended_by(trial, Cause.HAND_FAULT, saying=reason),
    )


def _swing(device: str) -> None:
    """Body of the control process that gets killed."""
    with LeapHand(device, CONFIG) as hand:
        config = SessionConfig(
            bundle=SWING,
            cameras=(NoiseCamera(), NoiseCamera()),
            hand=hand,
            instruction="swing",
            duration_s=MAX_WAIT_S,
            backend="scripted",
        )
        run_session(config)


def control_killed(setup: TrialSetup) -> TrialResult:
    """kill -9 of the control process during motion: only the watchdogs of the servos are left to stop them.

    Raises:
        InconclusiveError: there was no motion.
    """
    with DynamixelBus(range(JOINTS)) as bus:
        servos = tuple(bus.servos.values())
        process = multiprocessing.get_context("spawn").Process(target=_swing, args=(bus.device,))
        process.start()
        try:
            moved = _wait(lambda: abs(bus.servos[0].position - CENTER) > SWUNG)
            if not moved:
                raise InconclusiveError(f"{BUSY}: they did not move within {MAX_WAIT_S:g} s")
            os.kill(process.pid or 0, signal.SIGKILL)
            killed_ns = time.monotonic_ns()
            stopped = _wait(lambda: all(servo.watchdog_stops for servo in servos))
            stopped_ms = (time.monotonic_ns() - killed_ns) / 1e6
            positions = [servo.position for servo in servos]
            time.sleep(0.1)
            still = positions == [servo.position for servo in servos]
        finally:
            process.kill()
            process.join()
            _remove_shared_memory(process.pid or 0)
    return TrialResult(
        observed=f"bus watchdog (register 98) of {JOINTS} servos, set to {WATCHDOG_MS} ms",
        measured_ms=stopped_ms if stopped else None,
        bound_ms=WATCHDOG_BOUND_MS,
        measures="until the last servo stopped",
        problems=unless(still, "a servo moved on"),
    )


def _remove_shared_memory(pid: int) -> None:
    """Removes the blocks of a killed process, which would otherwise stay until this process ends."""
    for path in Path("/dev/shm").glob(f"vppe-{pid}-*"):
        with contextlib.suppress(FileNotFoundError):
            memory = SharedMemory(name=path.name)
            memory.close()
            memory.unlink()


def _wait(condition: Callable[[], bool]) -> bool:
    """Waits until the condition holds, at most MAX_WAIT_S. Returns whether it does."""
    end_s = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.001)
    return False


def bus_errors(setup: TrialSetup) -> TrialResult:
    """A few lost and corrupt answers are survived; a silent bus is a fault at the fifth reading."""

    def disturb(bus: DynamixelBus) -> None:
        bus.corrupt, bus.lose = 2, 1

    def silence(bus: DynamixelBus) -> None:
        bus.silent = True

    survived = _run(setup, disturb, 1.0)
    result = _stop_result(_run(setup, silence), bound_periods=5, reason="5 failures in a row")
    return replace(
        result,
        observed=f"3 bad answers survived; then silence: {result.observed}",
        problems=result.problems + unless_normal_end(survived),
    )


def unplugged(setup: TrialSetup) -> TrialResult:
    """The serial device disappears."""
    trial = _run(setup, lambda bus: bus.unplug())
    return _stop_result(trial, bound_periods=5, reason="was stopped: /dev/")


def overloaded(setup: TrialSetup) -> TrialResult:
    """A servo shuts itself down: the others hold with reduced current."""
    trial = _run(setup, lambda bus: bus.servos[5].overload())
    return _stop_result(trial, bound_periods=2, reason="overload")


def wrong_encoder(setup: TrialSetup) -> TrialResult:
    """An encoder jumps, or shows the same angle while the joint moves."""

    def jump(bus: DynamixelBus) -> None:
        bus.servos[3].jump_counts = 900

    def freeze(bus: DynamixelBus) -> None:
        bus.servos[3].frozen = True

    frozen = _run(setup, freeze, 6.0)
    result = _stop_result(_run(setup, jump), bound_periods=3, reason="jumped by")
    return replace(
        result,
        observed=f"a frozen encoder stopped the run; after a jump: {result.observed}",
        problems=result.problems + unless_ended_by(frozen, Cause.HAND_FAULT, saying="does not turn towards its target"),
    )
