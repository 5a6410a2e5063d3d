"""The body of the telemetry process: writes the log of a run and feeds its live view."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_body import child_body
from vpp_edge.runtime.telemetry.sinks import Sink, feed_sinks


@dataclass(frozen=True)
class TelemetrySettings:
    """What to write.

    Attributes:
        log: path of an MCAP file; None: no log.
        viewer: where to show the run live, as in `viewer.check_viewer`; None: nowhere.
        frame_period_ns: shortest time between two images of a view.
        about: metadata of the log: bundle, hand, instruction and the like.
    """

    log: str | None
    viewer: str | None
    joint_names: tuple[str, ...]
    frame_period_ns: int
    about: dict[str, str]


def run_telemetry(parent_pid: int, settings: TelemetrySettings, channels: Channels) -> None:
    """Writes and shows until told to stop, then completes what was written."""
    with child_body(parent_pid, channels.telemetry, channels.telemetry_note):
        try:
            sinks = _sinks(settings)
            feed_sinks(channels, sinks, settings.frame_period_ns)
            for sink in sinks:
                sink.close()
        except OSError as error:
            raise HardwareFaultError(f"the log stopped: {error}; is the disk full?") from error


def _sinks(settings: TelemetrySettings) -> list[Sink]:
    sinks: list[Sink] = []
    if settings.log is not None:
        from vpp_edge.runtime.telemetry.mcap_log import McapLog

        sinks.append(McapLog(settings.log, settings.about))
    if settings.viewer is not None:
        from vpp_edge.runtime.telemetry.viewer import RerunView

        sinks.append(RerunView(settings.viewer, settings.joint_names))
    return sinks
