"""Trials of faults of the machine: heat, the wall clock, the disk and memory."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpp_edge.runtime.chaos.injection import apply_clock_offset
from vpp_edge.runtime.chaos.result import TrialResult, no_missed_period, unless, unless_normal_end
from vpp_edge.runtime.chaos.trial import Trial, TrialSetup

HEAT_MS = 1000.0
HOUR_S = 3600
WARM_UP_S = 10.0  # caches fill first
NOISE_MIB = 2.0  # of all processes together
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def heat(setup: TrialSetup) -> TrialResult:
    """A sensor reaches the temperature at which the board throttles."""
    noticed_ns: list[int] = []

    def poll(trial: Trial) -> None:
        if trial.channels.orders["hot"] and not noticed_ns:
            noticed_ns.append(time.monotonic_ns())

    with tempfile.TemporaryDirectory() as sysfs:
        zone = _thermal_zone(Path(sysfs))

        def overheat(trial: Trial) -> None:
            (zone / "temp").write_text("95000")

        trial = Trial(setup, overheat, 3.0, on_poll=poll, sysfs=sysfs).run()
    times_ns, fault_ns = trial.times_ns, trial.injected_ns
    hz_before = _policy_hz(trial, (times_ns > fault_ns - 500_000_000) & (times_ns < fault_ns))
    hz_after = _policy_hz(trial, times_ns > fault_ns + 1_000_000_000)
    return TrialResult(
        observed=f"policy at {hz_before:.1f} Hz before and {hz_after:.1f} Hz after",
        measured_ms=(noticed_ns[0] - fault_ns) / 1e6 if noticed_ns else None,
        bound_ms=HEAT_MS,
        measures="detection",
        problems=(
            *unless(hz_after < hz_before, "the policy rate was not lowered"),
            *unless(any("throttled" in note for note in trial.report.notes), "no warning in the report"),
            *unless_normal_end(trial),
        ),
    )


def _thermal_zone(sysfs: Path) -> Path:
    """A fake sensor at 40 degrees Celsius that throttles at 90."""
    zone = sysfs / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    files = {"type": "cpu", "temp": "40000", "trip_point_0_type": "passive", "trip_point_0_temp": "90000"}
    for name, text in files.items():
        (zone / name).write_text(text)
    return zone


def _policy_hz(trial: Trial, part: np.ndarray) -> float:
    """Inferences per second during the commands (n,) of `part`."""
    seconds = float(np.ptp(trial.times_ns[part])) / 1e9
    return float(np.ptp(trial.column("inferences")[part])) / max(1e-9, seconds)


def clock_step(setup: TrialSetup) -> TrialResult:
    """The wall clock of every process jumps by an hour; the runtime uses monotonic time only."""

    def step(offset_s: int) -> Callable[[Trial], None]:
        def step_clock(trial: Trial) -> None:
            trial.orders.set_clock_offset(offset_s)
            apply_clock_offset(trial.orders)

        return step_clock

    trial = Trial(setup, step(HOUR_S), 1.6, later=((0.8, step(0)),)).run()
    used = np.diff(trial.column("used")[trial.times_ns >= trial.injected_ns]).sum()
    return no_missed_period(
        trial,
        observed=f"{used} chunks used after the step",
        problems=unless(used > 0, "no chunk was used after the step") + unless_normal_end(trial),
    )


def full_disk(setup: TrialSetup) -> TrialResult:
    """The recorder stalls, then cannot write any more: records are lost, the control loop goes on."""

    def send(signal_number: int) -> Callable[[Trial], None]:
        return lambda trial: os.kill(trial.channels.recorder["pid"], signal_number)

    def fill_disk(trial: Trial) -> None:
        pid = trial.channels.recorder["pid"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))  # writes fail, as on a full disk

    with tempfile.TemporaryDirectory() as folder:
        later = ((0.8, send(signal.SIGCONT)), (1.0, fill_disk))
        trial = Trial(setup, send(signal.SIGSTOP), 2.5, later=later, record=folder).run()
        incomplete = [path for path in Path(folder).rglob("*.json") if path.stat().st_size == 0]
    recording = trial.report.recording
    reported = "" if recording is None else recording.fault.partition("\n")[0]
    return no_missed_period(
        trial,
        observed=f"the report says: {reported}",
        problems=(
            *unless(bool(reported), "the loss is not reported"),
            *unless(not incomplete, "an incomplete episode was left"),
            *unless_normal_end(trial),
        ),
    )


def memory(setup: TrialSetup) -> TrialResult:
    """Resident memory of all processes during a longer run."""
    samples: list[tuple[float, float]] = []

    def sample(trial: Trial) -> None:
        boards = (trial.channels.policy, *(camera.board for camera in trial.channels.cameras))
        pids = [os.getpid(), *(board["pid"] for board in boards)]
        samples.append((time.monotonic(), sum(_resident_mib(pid) for pid in pids)))

    trial = Trial(setup, lambda trial: None, WARM_UP_S + setup.soak_s, on_poll=sample).run()
    start_s = samples[0][0] + WARM_UP_S
    seconds, mib = np.array([sample for sample in samples if sample[0] >= start_s]).T
    slope, error = _slope(seconds - seconds[0], mib)
    growth, uncertainty = setup.soak_s * slope, 3 * setup.soak_s * error
    return TrialResult(
        observed=f"{mib[-1]:.0f} MiB in all processes, {growth:+.2f} +- {uncertainty:.2f} MiB in {setup.soak_s:.0f} s",
        problems=(
            *unless(growth - uncertainty < NOISE_MIB, f"memory grows by {growth:.1f} MiB in {setup.soak_s:.0f} s"),
            *unless_normal_end(trial),
        ),
    )


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB
    except (OSError, IndexError):
        return 0.0


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the least-squares line, and its standard error."""
    (slope, offset), centered = np.polyfit(x, y, 1), x - x.mean()
    residual = y - (slope * x + offset)
    variance = (residual @ residual) / max(1, len(x) - 2) / max(1e-12, centered @ centered)
    return float(slope), float(np.sqrt(variance))
