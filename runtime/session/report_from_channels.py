"""The parts of a run's report that its processes left as counters in the channels."""

from __future__ import annotations

from vpp_edge.runtime.control.channel_link import ChannelLink
from vpp_edge.runtime.ipc.channels import CameraChannel, Channels
from vpp_edge.runtime.ipc.child_process import ChildProcess
from vpp_edge.runtime.ipc.counters import CameraCounts, PolicyCounts, read_counts
from vpp_edge.runtime.session.children import Children
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.report import CameraReport, LogReport, PolicyReport, RecordingReport


def policy_report(channels: Channels, link: ChannelLink, policy: ChildProcess) -> PolicyReport:
    """What the policy process did, and how long its stages took."""
    return PolicyReport(
        **vars(read_counts(channels.policy, PolicyCounts)),
        rate_hz=link.rate_hz,
        stages=link.latencies(),
        deaths=tuple(policy.deaths),
    )


def camera_reports(channels: Channels, children: Children) -> tuple[CameraReport, ...]:
    """What happened to the frames of every view."""
    cameras = zip(channels.cameras, children.cameras, strict=True)
    return tuple(_camera_report(channel, child, channels.policy[f"used_{channel.name}"]) for channel, child in cameras)


def _camera_report(channel: CameraChannel, child: ChildProcess, used: int) -> CameraReport:
    return CameraReport(
        **vars(read_counts(channel.board, CameraCounts)),
        name=channel.name,
        used=used,
        superseded=channel.frames.sequence - used,
        deaths=tuple(child.deaths),
        size=(channel.board["height"], channel.board["width"]),
    )


def recording_report(
    config: SessionConfig, channels: Channels, recorder: ChildProcess | None
) -> RecordingReport | None:
    """What the recorder kept and lost, and the fault that ended it, if any; None without a recorder."""
    if recorder is None:
        return None
    return RecordingReport(
        folder=config.record or "",
        rows=channels.recorder["rows"],
        ticks=channels.recorder["ticks"],
        ticks_lost=channels.ticks.lost,
        inferences_lost=channels.verdicts.lost,
        fault=recorder.deaths[-1] if recorder.deaths else recorder.note,
    )


def log_report(config: SessionConfig, channels: Channels, telemetry: ChildProcess | None) -> LogReport | None:
    """What was logged and lost, and the fault that ended the log, if any; None without one."""
    if telemetry is None:
        return None
    board = channels.telemetry
    return LogReport(
        path=" and ".join(filter(None, (config.log, config.viewer))),
        ticks=board["ticks"],
        chunks=board["chunks"],
        frames=board["frames"],
        ticks_lost=channels.log_ticks.lost,
        chunks_lost=channels.log_verdicts.lost,
        fault=telemetry.deaths[-1] if telemetry.deaths else telemetry.note,
    )
