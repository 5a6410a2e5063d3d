"""Faults of a hand and its bus, on simulated servos: in, a setting; out, what a run with the real driver made of it.

The bundle's policy has nothing to do with them and moves another hand, so a scripted one swings the joints.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from vpp_edge.runtime.chaos.noise_camera import NoiseCamera
from vpp_edge.runtime.chaos.result import Fault, TrialResult, unless
from vpp_edge.runtime.chaos.trial import Setting, Trial
from vpp_edge.runtime.hands.leap import LeapHand
from vpp_edge.runtime.hands.leap_config import LeapConfig
from vpp_edge.runtime.hands.simulators.dynamixel_bus import DynamixelBus
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.run import run_session
from vpp_edge.spec.hand_limits import HandLimits

JOINTS = 16
SWING = f"latency_ms=30,joints={JOINTS}"
WATCHDOG_MS, STOPPED_MS = 80, 100.0
BEGUN_S, LONGEST_S = 1.0, 30.0
CONFIG = LeapConfig(
    limits=HandLimits(
        joint_names=tuple(f"joint {i}" for i in range(JOINTS)),
        joint_lower_rad=(-0.5,) * JOINTS, joint_upper_rad=(1.5,) * JOINTS, joint_speed_rad_s=(2.0,) * JOINTS,
        joint_acceleration_rad_s2=(30.0,) * JOINTS, joint_jerk_rad_s3=(2000.0,) * JOINTS,
        joint_tracking_rad=(0.4,) * JOINTS, wrist_lower_m=(-0.001,) * 3, wrist_upper_m=(0.001,) * 3,
        wrist_speed_m_s=0.1, wrist_acceleration_m_s2=5.0, wrist_jerk_m_s3=500.0, wrist_turn_rad_s=0.5,
        wrist_turn_acceleration_rad_s2=10.0, wrist_turn_jerk_rad_s3=1000.0, wrist_tracking_m=0.01,
        wrist_tracking_rad=4.0,
    ),
    wrist=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), servo_ids=tuple(range(JOINTS)), zero_rad=(3.14159,) * JOINTS,
    direction=(1,) * JOINTS, current_limit_ma=300, hold_current_ma=100, hottest_celsius=60, cooled_celsius=50,
    watchdog_ms=WATCHDOG_MS, baud=4_000_000, read_ms=6.0, torque_off_at_close=False,
)  # fmt: skip


def _run(setting: Setting, plant: Callable[[DynamixelBus], None], seconds: float = 3.0) -> Trial:
    """A run of the LEAP driver on a simulated bus, in which something is planted."""
    with DynamixelBus(range(JOINTS)) as bus:
        on_bus = replace(
            setting,
            bundle=SWING,
            cameras=(NoiseCamera(), NoiseCamera()),
            instruction="swing",
            open_hand=lambda: LeapHand(bus.device, CONFIG),
            options={"backend": "scripted"},
        )
        return Trial(on_bus, lambda trial: plant(bus), seconds).run()


def _stopped(trial: Trial, bound_periods: int, words: str) -> TrialResult:
    """The run stopped for this reason: from the fault to the last command that was sent."""
    last_ms = float(trial.times_ns[-1] - trial.begun_ns) / 1e6
    return TrialResult(
        max(0.0, last_ms),
        bound_periods * trial.report.period_ms,
        f"{trial.report.ended.partition('. ')[0].removeprefix('fault: ')}",
        "last command",
        unless(words in trial.report.ended, f"the run ended otherwise, not by {words!r}"),
    )


def _swing(parent_pid: int, device: str) -> None:
    """Body of a control process that is going to be killed."""
    with LeapHand(device, CONFIG) as hand:
        cameras = (NoiseCamera(), NoiseCamera())
        config = SessionConfig(
            bundle=SWING, cameras=cameras, hand=hand, instruction="swing", duration_s=LONGEST_S, backend="scripted"
        )
        run_session(config)


def control_killed(setting: Setting) -> TrialResult:
    """kill -9 of the control process during motion: nobody is left to stop the servos but they themselves."""
    with DynamixelBus(range(JOINTS)) as bus:
        process = multiprocessing.get_context("spawn").Process(target=_swing, args=(os.getpid(), bus.device))
        process.start()
        try:
            moved = _wait(lambda: abs(bus.servos[0].position - 2048) > 150)
            os.kill(process.pid or 0, signal.SIGKILL)
            killed_ns = time.monotonic_ns()
            stopped = moved and _wait(lambda: all(servo.watchdog_stops for servo in bus.servos.values()))
            stopped_ms = (time.monotonic_ns() - killed_ns) / 1e6
            places = [servo.position for servo in bus.servos.values()]
            time.sleep(0.1)
            still = places == [servo.position for servo in bus.servos.values()]
        finally:
            process.kill()
            process.join()
            _remove_left_behind(process.pid or 0)
    return TrialResult(
        stopped_ms if stopped else None,
        STOPPED_MS,
        f"register 98 of {JOINTS} servos, armed with {WATCHDOG_MS} ms",
        "last servo stopped",
        unless(moved, "the servos did not move") + unless(still, "a servo moved on"),
    )


def _remove_left_behind(pid: int) -> None:
    """What a killed process leaves in shared memory stays until its parent ends."""
    for path in Path("/dev/shm").glob(f"vppe-{pid}-*"):
        with contextlib.suppress(FileNotFoundError):
            memory = SharedMemory(name=path.name)
            memory.close()
            memory.unlink()


def _wait(condition: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + LONGEST_S
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.001)
    return False


def bus_errors(setting: Setting) -> TrialResult:
    """Some answers lost and broken are survived; silence is a fault at the fifth reading."""

    def disturb(bus: DynamixelBus) -> None:
        bus.corrupt, bus.lose = 2, 1

    def silence(bus: DynamixelBus) -> None:
        bus.silent = True

    survived = _run(setting, disturb, 1.0)
    found = _stopped(_run(setting, silence), 5, "5 failures in a row")
    more = unless(survived.report.exit_status == 0, f"three bad answers ended the run: {survived.report.ended}")
    return replace(found, seen=f"3 bad answers survived; then silence: {found.seen}", problems=found.problems + more)


def unplugged(setting: Setting) -> TrialResult:
    """The serial device goes away."""
    return _stopped(_run(setting, lambda bus: bus.unplug()), 5, "was stopped: /dev/")


def overloaded(setting: Setting) -> TrialResult:
    """A servo switches itself off: the others hold with little current."""
    return _stopped(_run(setting, lambda bus: bus.servos[5].overload()), 2, "overload")


def lying_encoder(setting: Setting) -> TrialResult:
    """An encoder jumps, or shows the same angle whatever the joint does."""

    def jump(bus: DynamixelBus) -> None:
        bus.servos[3].jump_counts = 900

    def freeze(bus: DynamixelBus) -> None:
        bus.servos[3].frozen = True

    frozen = _run(setting, freeze, 6.0)
    words = "does not turn towards its target"
    found = _stopped(_run(setting, jump), 3, "jumped by")
    more = unless(words in frozen.report.ended, f"a frozen one: {frozen.report.ended}")
    return replace(found, seen=f"a frozen one stopped the run; a jump: {found.seen}", problems=found.problems + more)


FAULTS = (
    Fault(15, "control process killed", "the hand's own watchdog stops it", "100 ms", control_killed),
    Fault(16, "bus timeout, CRC error", "retry, hold the last state; five in a row: fault", "5 T", bus_errors),
    Fault(17, "bus unplugged", "fault; the operator arms again", "5 T", unplugged),
    Fault(18, "motor overload", "cap the current, hold", "1 poll (2 T)", overloaded),
    Fault(19, "encoder jumping or frozen", "stop", "3 T", lying_encoder),
)
