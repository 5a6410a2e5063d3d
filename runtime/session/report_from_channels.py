"""The accounts of an ended run: in, the counters that its processes left in shared memory; out, their reports."""

from __future__ import annotations

from vpp_edge.runtime.control.channel_link import SharedLink
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child import Child
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.report import CameraReport, LogReport, PolicyReport, RecordingReport


def policy_report(channels: Channels, link: SharedLink, policy: Child) -> PolicyReport:
    """What the policy process did, and how long its steps took."""
    board = channels.policy
    return PolicyReport(
        inferences=board["inferences"],
        rate_hz=link.rate_hz,
        stages=link.latencies(),
        stale_waits=board["stale_waits"],
        apart_waits=board["apart_waits"],
        deaths=tuple(policy.deaths),
    )


def camera_reports(channels: Channels, children: list[Child]) -> tuple[CameraReport, ...]:
    """Where every frame of every view went."""
    deaths = {child.name: tuple(child.deaths) for child in children}
    reports = []
    for channel in channels.cameras:
        board, used = channel.board, channels.policy[f"used_{channel.name}"]
        report = CameraReport(
            name=channel.name,
            delivered=board["delivered"],
            used=used,
            superseded=channel.frames.sequence - used,
            dropped=board["dropped"],
            overwritten=board["overwritten"],
            repeated=board["repeated"],
            timeouts=board["timeouts"],
            deaths=deaths[f"camera {channel.name}"],
            size=(board["height"], board["width"]),
        )
        reports.append(report)
    return tuple(reports)


def recording_report(folder: str, channels: Channels, recorder: Child) -> RecordingReport:
    """What the recorder kept and lost, and the fault that ended it, if one did."""
    return RecordingReport(
        folder=folder,
        rows=channels.recorder["rows"],
        ticks=channels.recorder["ticks"],
        ticks_lost=channels.ticks.lost,
        inferences_lost=channels.verdicts.lost,
        fault=recorder.deaths[-1] if recorder.deaths else recorder.note,
    )


def log_report(config: SessionConfig, channels: Channels, children: list[Child]) -> LogReport:
    """What the log kept and lost, and the fault that ended it, if one did."""
    board, child = channels.telemetry, next(child for child in children if child.name == "log")
    return LogReport(
        path=" and ".join(filter(None, (config.log, config.viewer))),
        ticks=board["ticks"],
        chunks=board["chunks"],
        frames=board["frames"],
        ticks_lost=channels.log_ticks.lost,
        chunks_lost=channels.log_verdicts.lost,
        fault=child.deaths[-1] if child.deaths else child.note,
    )
