"""The end of a run in numbers and in words: in, what loop, policy, cameras and recorder counted; out, a RunReport."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vpp_edge.runtime.control.contract import ControlReport
from vpp_edge.trace import Latency


@dataclass(frozen=True)
class CameraReport:
    """One view. `delivered` + `dropped` + `overwritten` are all frames that the device made.

    Attributes:
        delivered: came to us; `used`: seen by the policy; `superseded`: replaced by a newer one before it looked.
        dropped: the device counted it and it never came; `overwritten`: it came and was replaced in the driver's queue.
        repeated: frames whose number had come before: a frozen image.
        timeouts: reads that gave nothing; `deaths`: why the camera process was started again, in words.
        size: (height, width) as delivered.
    """

    name: str
    delivered: int
    used: int
    superseded: int
    dropped: int
    overwritten: int
    repeated: int
    timeouts: int
    deaths: tuple[str, ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class PolicyReport:
    """The policy process.

    Attributes:
        inferences: chunks computed; `rate_hz`: of those that arrived.
        stages: percentiles per step of an inference, and of the observation's age when its chunk arrived.
        stale_waits: times it had only frames older than two frame periods and waited.
        apart_waits: times its views were more than one frame period apart and it waited.
        deaths: why it was started again, in words.
    """

    inferences: int
    rate_hz: float
    stages: dict[str, Latency]
    stale_waits: int
    apart_waits: int
    deaths: tuple[str, ...]


@dataclass(frozen=True)
class RecordingReport:
    """What `--record` kept: `folder`, `rows` of the episode, `ticks`; what it lost because it was too slow, or why."""

    folder: str
    rows: int
    ticks: int
    ticks_lost: int
    inferences_lost: int
    fault: str


@dataclass(frozen=True)
class LogReport:
    """What `--log` and `--rerun` told: where, how much of each kind, and what was lost by being too slow, or why."""

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
        notes: how the loop was scheduled and the like.
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

    @property
    def ended(self) -> str:
        """How it ended, e.g. `Ctrl-C: hand held`."""
        return self.control.ended

    @property
    def exit_status(self) -> int:
        """0 when the run was ended on purpose and the hand holds, else 1."""
        return 1 if self.control.failed or not self.control.held else 0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        return {**asdict(self), "ended": self.ended, "exit_status": self.exit_status}

    def lines(self) -> list[str]:
        """The summary that a person reads."""
        return [*self._control_lines(), *self._policy_lines(), *self._camera_lines(), *self._last_lines()]

    def _control_lines(self) -> list[str]:
        loop, chunks, clamps = self.control.loop, self.control.chunks, self.control.clamps
        lateness, work = loop.lateness_ms, loop.work_ms
        return [
            f"control   {loop.rate_hz:.1f} Hz over {self.seconds:.1f} s ({loop.ticks} ticks of {self.period_ms:g} ms), "
            f"{loop.late_share:.2%} later than {loop.late_limit_ms:g} ms, "
            f"{loop.missed} missed (longest run {loop.longest_miss_run})",
            f"          wake-up late by p50 {lateness['p50']:.2f}, p99 {lateness['p99']:.2f}, "
            f"p99.9 {lateness['p99.9']:.2f}, max {lateness['max']:.2f} ms; "
            f"work per tick p50 {work['p50']:.2f}, p99 {work['p99']:.2f}, max {work['max']:.2f} ms",
            f"limits    ticks clamped: position {clamps['position']}, speed {clamps['speed']}, "
            f"acceleration {clamps['acceleration']}, jerk {clamps['jerk']}, rejected {clamps['rejected']}",
            f"chunks    {chunks.used} used ({chunks.waited_for} after the hand had waited), "
            f"{chunks.rejected} rejected, {chunks.late} too late, "
            f"{chunks.old} of an earlier request; "
            f"{chunks.actions_dropped} late actions dropped; held {chunks.holds} times for want of a chunk",
        ]

    def _policy_lines(self) -> list[str]:
        policy = self.policy
        lines = [
            f"policy    {policy.rate_hz:.2f} Hz ({policy.inferences} inferences, "
            f"{policy.stale_waits} waits on stale frames, {policy.apart_waits} on frames too far apart, "
            f"{len(policy.deaths)} restarts)"
        ]
        for name, latency in policy.stages.items():
            lines.append(
                f"          {name:<20} p50 {latency.p50_ms:8.1f}  p90 {latency.p90_ms:8.1f}  "
                f"p99 {latency.p99_ms:8.1f} ms"
            )
        return lines

    def _camera_lines(self) -> list[str]:
        return [
            f"camera    {c.name}: {c.delivered} frames delivered ({c.used} used, {c.superseded} superseded by newer), "
            f"{c.dropped} dropped, {c.overwritten} overwritten, "
            f"{c.repeated} repeated, {c.timeouts} timeouts, {len(c.deaths)} restarts"
            for c in self.cameras
        ]

    def _last_lines(self) -> list[str]:
        lines = []
        if self.log is not None:
            told = self.log
            fault = f"; {told.fault}" if told.fault else ""
            lines.append(
                f"log       {told.ticks} ticks, {told.chunks} chunks, {told.frames} images in {told.path}; "
                f"lost {told.ticks_lost} ticks and {told.chunks_lost} chunks{fault}"
            )
        if self.recording is not None:
            r = self.recording
            fault = f"; {r.fault}" if r.fault else ""
            lines.append(
                f"recorded  {r.rows} rows, {r.ticks} ticks in {r.folder}; "
                f"lost {r.ticks_lost} ticks and {r.inferences_lost} inferences{fault}"
            )
        for death in (*self.policy.deaths, *(d for c in self.cameras for d in c.deaths)):
            lines.append(f"restarted {death}")
        lines += [f"note      {note}" for note in self.notes]
        return [*lines, f"ended     {self.ended}"]
