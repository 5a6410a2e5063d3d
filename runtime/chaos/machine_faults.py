"""Trials of faults of the machine: heat, the wall clock, the disk and memory."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpp_edge.runtime.chaos.injection import apply_clock_offset, restore_clock
from vpp_edge.runtime.chaos.result import (
    TrialResult,
    no_missed_period,
    unless,
    unless_answering,
    unless_normal_end,
)
from vpp_edge.runtime.chaos.trial import Awaited, Trial, TrialSetup
from vpp_edge.runtime.ipc.loop_state import Phase

HEAT_MS = 1000.0
RATED = 3  # intervals between inferences that a rate is measured over
LOWERED = 0.75  # of the rate before, or of the share of time that the policy works, at most; the runtime halves it
WAYS = {  # to slow a machine down: a file of the kernel, its content then, and before
    "heat": ("class/thermal/thermal_zone0/temp", "95000", "40000"),
    "power mode": ("devices/system/cpu/cpufreq/policy0/scaling_max_freq", "700000", "2000000"),
    "over-current": ("class/hwmon/hwmon0/oc1_event_cnt", "1", "0"),
}
HOUR_S = 3600
AHEAD_MS = 500.0  # at least
WARM_UP_S = 10.0  # caches fill first
NOISE_MIB = 2.0  # of all processes together
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class _Throttled:
    """A machine that is slowed down in one way after another, and what the run does about it.

    Each way lasts until it was noticed, the first one also until the policy has answered often enough to see its rate.

    Attributes:
        noticed_ms: per way, from its beginning to when the policy was told to run less often.
        slow_ns: when that was for the first time.
    """

    def __init__(self, sysfs: Path) -> None:
        self._ways = _slowing_files(sysfs)
        self._names = list(self._ways)
        self._begun_ns = 0
        self._slowed = False
        self.noticed_ms: dict[str, float] = {}
        self.slow_ns = 0

    def begin(self, trial: Trial) -> None:
        """The next way to be slowed down."""
        file, slow, _ = self._ways[self._names[len(self.noticed_ms)]]
        file.write_text(slow)
        self._begun_ns, self._slowed = time.monotonic_ns(), True

    def poll(self, trial: Trial) -> None:
        hot, now_ns = bool(trial.channels.orders["hot"]), time.monotonic_ns()
        if self._slowed and hot:
            name = self._names[len(self.noticed_ms)]
            self.noticed_ms[name] = (now_ns - self._begun_ns) / 1e6
            self.slow_ns, self._slowed = self.slow_ns or now_ns, False
        if self._slowed or not self.seen(trial):
            return
        if hot:
            file, _, normal = self._ways[self._names[len(self.noticed_ms) - 1]]
            file.write_text(normal)
        elif len(self.noticed_ms) < len(self._ways):
            self.begin(trial)

    def seen(self, trial: Trial) -> bool:
        """Whether the policy has begun enough inferences since it was told to run less often."""
        return self.slow_ns > 0 and len(_begun_ns(trial, self.slow_ns)) > RATED

    def event(self, trial: Trial) -> float | None:
        """When the last way was noticed; for `Awaited`."""
        return trial.ms_until_now() if len(self.noticed_ms) == len(self._ways) else None


def throttled(setup: TrialSetup) -> TrialResult:
    """A sensor gets too hot, the power mode lowers a clock, the supply reports over-current: one after the other."""
    with tempfile.TemporaryDirectory() as sysfs:
        machine = _Throttled(Path(sysfs))
        awaited = Awaited(event=machine.event, answers=2 * (RATED + 2), delay_s=len(WAYS) * 2 * HEAT_MS / 1e3)
        trial = Trial(
            setup, machine.begin, 1.0, awaited=awaited, settle_answers=RATED + 1, on_poll=machine.poll, sysfs=sysfs
        ).run()
    before = _work(trial, _begun_ns(trial, 0, trial.injected_ns)[-RATED - 1 :])
    after = _work(trial, _begun_ns(trial, machine.slow_ns or trial.times_ns[-1])[: RATED + 1])
    lowered = after.hz > 0 and (after.hz <= LOWERED * before.hz or after.busy <= LOWERED * before.busy)
    notes = [note for note in trial.report.notes if "throttled" in note]
    missed = [name for name in WAYS if name not in machine.noticed_ms]
    return TrialResult(
        observed=f"policy at {before} before and {after} after; ms until noticed: "
        + ", ".join(f"{name} {ms:.0f}" for name, ms in machine.noticed_ms.items()),
        measured_ms=max(machine.noticed_ms.values(), default=None),
        bound_ms=HEAT_MS,
        measures="until the slowest was noticed",
        problems=(
            *unless_answering(trial, lowered, "the policy rate was not lowered"),
            *unless_answering(trial, not missed, f"not noticed: {', '.join(missed)}"),
            *unless(len(notes) >= len(machine.noticed_ms) > 0, "no warning in the report"),
            *unless_normal_end(trial),
        ),
    )


def _slowing_files(sysfs: Path) -> dict[str, tuple[Path, str, str]]:
    """Makes the kernel's files of a machine that is not slowed down. Per way: its file, slowed down, and normal."""
    texts = {
        "class/thermal/thermal_zone0/type": "cpu",
        "class/thermal/thermal_zone0/trip_point_0_type": "passive",
        "class/thermal/thermal_zone0/trip_point_0_temp": "90000",
    }
    ways = {name: (sysfs / path, slow, normal) for name, (path, slow, normal) in WAYS.items()}
    for file, text in (*((sysfs / path, text) for path, text in texts.items()), *((f, n) for f, _, n in ways.values())):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return ways


def _begun_ns(trial: Trial, from_ns: int, until_ns: int | None = None) -> np.ndarray:
    """(n,) when each inference began, to a period, in this part of the run."""
    begun, times_ns = trial.begun, trial.times_ns
    starts_ns = times_ns[1:][np.diff(begun) > 0]
    return starts_ns[(starts_ns >= from_ns) & (starts_ns < (until_ns or times_ns[-1] + 1))]


class _Work(NamedTuple):
    """How often a policy infers, and which share of the time it works; the second one does not follow other load."""

    hz: float
    busy: float

    def __str__(self) -> str:
        return f"{self.hz:.2f} Hz (busy for {100 * self.busy:.0f} % of the time)"


def _work(trial: Trial, begun_ns: np.ndarray) -> _Work:
    """From the first to the last of these beginnings of an inference; zeros for less than two."""
    if len(begun_ns) < 2:
        return _Work(0.0, 0.0)
    between = (trial.times_ns >= begun_ns[0]) & (trial.times_ns < begun_ns[-1])
    hz = (len(begun_ns) - 1) * 1e9 / float(begun_ns[-1] - begun_ns[0])
    return _Work(hz, float((trial.column("phase")[between] == Phase.WORKING).mean()))


def clock_step(setup: TrialSetup) -> TrialResult:
    """The wall clock of every process jumps by an hour; the runtime uses monotonic time only."""

    used_by_then: int | None = None  # chunks, when the clock was set back

    def step(trial: Trial, offset_s: int) -> None:
        trial.orders.set_clock_offset(offset_s)
        apply_clock_offset(trial.orders)

    def step_back(trial: Trial) -> None:
        nonlocal used_by_then
        used_ms = trial.ms_until_grown("used", 2)  # the first may have been on its way
        if used_by_then is None and used_ms is not None and trial.ms_until_now() >= AHEAD_MS:
            used_by_then = trial.loop.counts.used
            step(trial, 0)

    def used_again(trial: Trial) -> float | None:
        return None if used_by_then is None else trial.ms_until(trial.column("used") >= used_by_then + 2)

    awaited = Awaited(event=used_again, answers=5)
    try:
        trial = Trial(setup, lambda trial: step(trial, HOUR_S), 1.0, awaited=awaited, on_poll=step_back).run()
    finally:
        restore_clock()
    used = trial.column("used")[-1] - trial.value_before("used")
    return no_missed_period(
        trial,
        observed=f"{used} chunks used after the step",
        problems=(
            *unless_answering(
                trial, trial.awaited_ms is not None, "no chunks were used after the step and the one back"
            ),
            *unless_normal_end(trial),
        ),
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
