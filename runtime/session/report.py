"""The report of a run: what loop, policy, cameras, log and recorder counted, as data, JSON and lines for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vpp_edge.runtime.control.contract import ControlReport
from vpp_edge.runtime.ipc.counters import CameraCounts, PolicyCounts, summary_of
from vpp_edge.trace import Latency
from vpp_edge.wording import counted


@dataclass(frozen=True, kw_only=True)
class CameraReport(CameraCounts):
    """One view.

    Attributes:
        used: frames that an inference was made from.
        superseded: frames replaced by a newer one before the policy read them.
        deaths: why the camera process was restarted, one sentence each.
        size: (height, width) as delivered.
    """

    name: str
    used: int
    superseded: int
    deaths: tuple[str, ...]
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class PolicyReport(PolicyCounts):
    """The policy process.

    Attributes:
        rate_hz: of the chunks that arrived at the control loop.
        stages: percentiles per stage of an inference, and of the observation's age when its chunk arrived.
        deaths: why it was restarted, one sentence each.
    """

    rate_hz: float
    stages: dict[str, Latency]
    deaths: tuple[str, ...]


@dataclass(frozen=True)
class RecordingReport:
    """The recording of `--record`.

    Attributes:
        rows: of the episode; `ticks`: kept beside it.
        ticks_lost, inferences_lost: what the recorder was too slow for.
        fault: why it ended early; empty if it did not.
    """

    folder: str
    rows: int
    ticks: int
    ticks_lost: int
    inferences_lost: int
    fault: str


@dataclass(frozen=True)
class LogReport:
    """The log of `--log` and the live view of `--rerun`.

    Attributes:
        path: where they are.
        ticks, chunks, frames: written.
        ticks_lost, chunks_lost: what the process was too slow for.
        fault: why it ended early; empty if it did not.
    """

    path: str
    ticks: int
    chunks: int
    frames: int
    ticks_lost: int
    chunks_lost: int
    fault: str


@dataclass(frozen=True)
class RunReport:
    """A whole run.

    Attributes:
        seconds: from the first chunk to the stop.
        notes: those of the bundle, how the loop was scheduled, and the like.
        signals: that came, also when the run had already ended for another reason.
    """

    instruction: str
    bundle: str
    hand: str
    seconds: float
    period_ms: float
    control: ControlReport
    policy: PolicyReport
    cameras: tuple[CameraReport, ...]
    log: LogReport | None
    recording: RecordingReport | None
    notes: tuple[str, ...]
    signals: tuple[str, ...] = ()

    @property
    def ended(self) -> str:
        """How it ended, e.g. `Ctrl-C: hand held`."""
        return self.control.ended

    @property
    def exit_status(self) -> int:
        """0 when the run was ended on purpose and the hand is held, else 1."""
        return 1 if self.control.failed or not self.control.held else 0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        return {**asdict(self), "ended": self.ended, "exit_status": self.exit_status}

    def lines(self) -> list[str]:
        """The summary for people."""
        return [*self._control_lines(), *self._policy_lines(), *self._camera_lines(), *self._last_lines()]

    def _control_lines(self) -> list[str]:
        loop, clamps = self.control.loop, self.control.clamps
        lateness, work = loop.lateness_ms, loop.work_ms
        return [
            f"control   {loop.rate_hz:.1f} Hz over {self.seconds:.1f} s "
            f"({counted(loop.ticks, 'tick')} of {self.period_ms:g} ms), "
            f"{loop.late_share:.2%} later than {loop.late_limit_ms:g} ms, "
            f"{loop.missed} missed (longest run {loop.longest_miss_run})",
            f"          wake-up late by p50 {lateness['p50']:.2f}, p99 {lateness['p99']:.2f}, "
            f"p99.9 {lateness['p99.9']:.2f}, max {lateness['max']:.2f} ms; "
            f"work per tick p50 {work['p50']:.2f}, p99 {work['p99']:.2f}, max {work['max']:.2f} ms",
            f"limits    ticks clamped: {', '.join(f'{name} {count}' for name, count in clamps.items())}",
            f"chunks    {summary_of(self.control.chunks)}",
        ]

    def _policy_lines(self) -> list[str]:
        policy = self.policy
        lines = [
            f"policy    {policy.rate_hz:.2f} Hz ({counted(policy.inferences, 'inference')} from "
            f"{counted(policy.looks, 'look')}, "
            f"{counted(policy.stale_waits, 'wait')} on stale frames, {policy.apart_waits} on frames too far apart, "
            f"{counted(len(policy.deaths), 'restart')})"
        ]
        for name, latency in policy.stages.items():
            lines.append(
                f"          {name:<20} p50 {latency.p50_ms:8.1f}  p90 {latency.p90_ms:8.1f}  "
                f"p99 {latency.p99_ms:8.1f} ms"
            )
        return lines

    def _camera_lines(self) -> list[str]:
        return [
            f"camera    {c.name}: {counted(c.delivered, 'frame')} delivered "
            f"({c.used} used, {c.superseded} superseded by newer), "
            f"{c.dropped} dropped, {c.overwritten} overwritten, "
            f"{c.repeated} repeated, {counted(c.timeouts, 'timeout')}, {counted(len(c.deaths), 'restart')}"
            for c in self.cameras
        ]

    def _last_lines(self) -> list[str]:
        lines = []
        if self.log is not None:
            log = self.log
            fault = f"; {log.fault}" if log.fault else ""
            lines.append(
                f"log       {counted(log.ticks, 'tick')}, {counted(log.chunks, 'chunk')}, "
                f"{counted(log.frames, 'image')} in {log.path}; "
                f"lost {counted(log.ticks_lost, 'tick')} and {counted(log.chunks_lost, 'chunk')}{fault}"
            )
        if self.recording is not None:
            recording = self.recording
            fault = f"; {recording.fault}" if recording.fault else ""
            lines.append(
                f"recorded  {counted(recording.rows, 'row')}, {counted(recording.ticks, 'tick')} "
                f"in {recording.folder}; "
                f"lost {counted(recording.ticks_lost, 'tick')} and "
                f"{counted(recording.inferences_lost, 'inference')}{fault}"
            )
        for death in (*self.policy.deaths, *(d for c in self.cameras for d in c.deaths)):
            lines.append(f"restarted {death}")
        lines += [f"note      {note}" for note in self.notes]
        return [*lines, f"ended     {self.ended}"]
