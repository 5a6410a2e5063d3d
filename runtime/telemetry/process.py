"""Body of the telemetry process: in, what to write where; out, a log of the run."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.messages import Channels
from vpp_edge.runtime.telemetry.moments import Sink, tell
from vpp_edge.runtime.workers import child_process


@dataclass(frozen=True)
class TelemetrySettings:
    """What to write.

    Attributes:
        log: path of the MCAP file.
        frame_period_ns: shortest time between two images of a view.
        about: what the log says about its run.
    """

    log: str
    frame_period_ns: int
    about: dict[str, str]


def run_telemetry(parent_pid: int, settings: TelemetrySettings, channels: Channels) -> None:
    """Writes until told to stop, then completes the file."""
    from vpp_edge.runtime.telemetry.mcap_log import McapLog

    with child_process(parent_pid, channels.telemetry, channels.telemetry_note):
        sinks: list[Sink] = []
        try:
            sinks.append(McapLog(settings.log, settings.about))
            tell(channels, sinks, settings.frame_period_ns)
            for sink in sinks:
                sink.close()
        except OSError as error:
            raise HardwareFaultError(f"the log stopped: {error}; is the disk full?") from error
