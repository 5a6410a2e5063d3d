"""Heat, clocks, disks and memory: in, a setting; out, what the run made of it."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vpp_edge.runtime.chaos.injection import follow_clock
from vpp_edge.runtime.chaos.result import LONGEST_GAP, Fault, TrialResult, unless
from vpp_edge.runtime.chaos.trial import Setting, Trial

HEAT_MS = 1000.0
HOUR_S = 3600
WARM_S = 10.0  # caches fill first
NOISE_MIB = 2.0  # of all processes together
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def heat(setting: Setting) -> TrialResult:
    """A sensor reaches the temperature at which the board slows down."""
    with tempfile.TemporaryDirectory() as folder:
        zone = Path(folder) / "class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        texts = {"type": "cpu", "temp": "40000", "trip_point_0_type": "passive", "trip_point_0_temp": "90000"}
        for name, text in texts.items():
            (zone / name).write_text(text)
        noticed: list[int] = []

        def warm(trial: Trial) -> None:
            (zone / "temp").write_text("95000")

        def look(trial: Trial) -> None:
            if trial.channels.orders["hot"] and not noticed:
                noticed.append(time.monotonic_ns())

        trial = Trial(setting, warm, 3.0, each=look, sysfs=folder).run()
    inferences, times = trial.column("inferences"), trial.times_ns
    rates = [
        float(np.ptp(inferences[part])) / max(1e-9, float(np.ptp(times[part])) / 1e9)
        for part in (
            (times > trial.begun_ns - 500_000_000) & (times < trial.begun_ns),
            times > trial.begun_ns + 1_000_000_000,
        )
    ]
    return TrialResult(
        (noticed[0] - trial.begun_ns) / 1e6 if noticed else None,
        HEAT_MS,
        f"policy at {rates[0]:.1f} Hz before and {rates[1]:.1f} Hz after",
        "noticed",
        unless(rates[1] < rates[0], "the policy is not slower")
        + unless(any("throttled" in note for note in trial.report.notes), "no warning in the report")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def clock_step(setting: Setting) -> TrialResult:
    """The wall clock jumps by an hour, in every process: nobody asks it."""

    def step(seconds: int) -> Callable[[Trial], None]:
        def both(trial: Trial) -> None:
            trial.orders.step_clock(seconds)
            follow_clock(trial.orders)

        return both

    trial = Trial(setting, step(HOUR_S), 1.6, later=((0.8, step(0)),)).run()
    used = np.diff(trial.column("used")[trial.times_ns >= trial.begun_ns]).sum()
    return TrialResult(
        trial.longest_gap_ms(),
        2 * trial.report.period_ms,
        f"{used} chunks used meanwhile",
        LONGEST_GAP,
        unless(used > 0, "no chunk was used any more")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def full_disk(setting: Setting) -> TrialResult:
    """The recorder stands still for a while, then cannot write any more: records are lost, the loop goes on."""
    import resource

    def order(number: int) -> Callable[[Trial], None]:
        return lambda trial: os.kill(trial.channels.recorder["pid"], number)

    def full(trial: Trial) -> None:
        resource.prlimit(
            trial.channels.recorder["pid"], resource.RLIMIT_FSIZE, (0, 0)
        )  # writes fail, as on a full disk

    with tempfile.TemporaryDirectory() as folder:
        later = ((0.8, order(signal.SIGCONT)), (1.0, full))
        trial = Trial(setting, order(signal.SIGSTOP), 2.5, later=later, record=folder).run()
        left = [path for path in Path(folder).rglob("*.json") if path.stat().st_size == 0]
    recording = trial.report.recording
    told = "" if recording is None else recording.fault.partition("\n")[0]
    return TrialResult(
        trial.longest_gap_ms(),
        2 * trial.report.period_ms,
        f"the report says: {told}",
        LONGEST_GAP,
        unless(bool(told), "the loss is not told")
        + unless(not left, "half an episode was left")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def memory(setting: Setting) -> TrialResult:
    """Resident memory of all processes of the run, over a soak."""
    samples: list[tuple[float, float]] = []

    def sample(trial: Trial) -> None:
        boards = (trial.channels.policy, *(camera.board for camera in trial.channels.cameras))
        pids = [os.getpid(), *(board["pid"] for board in boards)]
        samples.append((time.monotonic(), sum(_resident_mib(pid) for pid in pids)))

    trial = Trial(setting, lambda trial: None, WARM_S + setting.soak_s, each=sample).run()
    seconds, mib = np.array([one for one in samples if one[0] >= samples[0][0] + WARM_S]).T
    slope, error = _slope(seconds - seconds[0], mib)
    grown, doubt = setting.soak_s * slope, 3 * setting.soak_s * error
    return TrialResult(
        None,
        None,
        f"{mib[-1]:.0f} MiB in all processes, {grown:+.2f} +- {doubt:.2f} MiB in {setting.soak_s:.0f} s",
        "",
        unless(grown - doubt < NOISE_MIB, f"memory grows by {grown:.1f} MiB in {setting.soak_s:.0f} s")
        + unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}"),
    )


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB
    except (OSError, IndexError):
        return 0.0


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Of a line through points, with its standard error."""
    (slope, offset), away = np.polyfit(x, y, 1), x - x.mean()
    rest = y - (slope * x + offset)
    return float(slope), float(np.sqrt((rest @ rest) / max(1, len(x) - 2) / max(1e-12, away @ away)))


FAULTS = (
    Fault(22, "machine slowed down by heat or power mode", "warn, lower the policy rate", "1 s", heat),
    Fault(23, "wall clock steps", "nothing: time is monotonic", "no missed T", clock_step),
    Fault(
        24,
        "logger slow, disk full",
        "drop records, count them, never block",
        "no missed T",
        full_disk if find_spec("av") else None,
        "PyAV, to record (pip install 'vpp-edge[video]')",
    ),
    Fault(27, "memory growth over a long run", "none", "slope within noise", memory),
)
