"""The child processes of a run: policy, cameras, telemetry, metrics and recorder, each with its settings and limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vpp_edge import __version__
from vpp_edge.runtime.cameras.process import run_camera
from vpp_edge.runtime.interfaces import CameraSource, grip_of
from vpp_edge.runtime.ipc.channels import CameraChannel, Channels
from vpp_edge.runtime.ipc.child_process import ChildProcess, ChildSettings
from vpp_edge.runtime.ipc.real_time import other_cpus, usable_cpus
from vpp_edge.runtime.policy.process import run_policy
from vpp_edge.runtime.policy.settings import PolicySettings
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.telemetry.process import TelemetrySettings, run_telemetry
from vpp_edge.runtime.telemetry.prometheus import run_metrics
from vpp_edge.runtime.telemetry.recorder import RecorderSettings, run_recorder
from vpp_edge.spec.policy import PolicySpec

POLICY_FAILURES = 2  # after an error of the engine it is loaded again once
CAMERA_SILENT_NS = 2_000_000_000  # a hanging camera is back within 5 s
CAMERA_OPEN_NS = 15_000_000_000
RECORDER_END_NS = 60_000_000_000  # the last frames are encoded and the episode gets its name


@dataclass(frozen=True)
class Children:
    """The child processes of a run; None where the run has no such child.

    Attributes:
        cameras: one per view, in the policy's order.
    """

    policy: ChildProcess
    cameras: tuple[ChildProcess, ...]
    telemetry: ChildProcess | None = None
    metrics: ChildProcess | None = None
    recorder: ChildProcess | None = None

    def __iter__(self) -> Iterator[ChildProcess]:
        """Slowest to load first."""
        optional = (self.telemetry, self.metrics, self.recorder)
        return iter((self.policy, *self.cameras, *(child for child in optional if child is not None)))


def children_from_config(config: SessionConfig, spec: PolicySpec, channels: Channels) -> Children:
    """The children of a run, not started yet."""
    cameras = zip(config.cameras, channels.cameras, strict=True)
    children = Children(
        policy=_policy(config, channels),
        cameras=tuple(_camera(camera, channel, channels) for camera, channel in cameras),
        telemetry=_telemetry(config, channels) if config.telemetry else None,
        metrics=None if config.metrics is None else _metrics(config.metrics, channels),
        recorder=None if config.record is None else _recorder(config.record, config, spec, channels),
    )
    for child in children:
        child.settings = replace(child.settings, cpus=other_cpus(config.control_cpu))
    return children


def _policy(config: SessionConfig, channels: Channels) -> ChildProcess:
    settings = PolicySettings(
        bundle=config.bundle,
        backend=config.backend,
        provider=config.provider,
        threads=config.threads or engine_threads(),
        seed=config.seed,
        arm=config.arm,
        frame_periods_ns=tuple(frame_period_ns(camera) for camera in config.cameras),
        grip=grip_of(config.hand),
        chunking=config.chunking,
        acts_per_look=config.acts_per_look,
        control_period_ns=round(1e9 / config.rate_hz),
        wrap_policy=config.wrap_policy,
    )
    return ChildProcess(
        ChildSettings(
            "policy",
            threads=settings.threads,
            silent_ns=int(config.policy_silent_s * 1e9),
            failures=POLICY_FAILURES,
        ),
        lambda generation: (run_policy, (settings, channels, generation)),
        channels.policy,
        channels.policy_note,
    )


def _camera(source: CameraSource, channel: CameraChannel, channels: Channels) -> ChildProcess:
    return ChildProcess(
        ChildSettings(f"camera {channel.name}", silent_ns=CAMERA_SILENT_NS, open_ns=CAMERA_OPEN_NS),
        lambda generation: (run_camera, (source, channel, channels.orders, channels.states)),
        channel.board,
        channel.note,
    )


def _telemetry(config: SessionConfig, channels: Channels) -> ChildProcess:
    settings = TelemetrySettings(
        log=config.log,
        viewer=config.viewer,
        joint_names=config.hand.limits.joint_names,
        frame_period_ns=round(1e9 / config.log_frames_hz),
        about={
            "bundle": Path(config.bundle).name,
            "hand": config.hand.name,
            "instruction": config.instruction,
            "rate_hz": f"{config.rate_hz:g}",
            "acts_per_look": str(config.acts_per_look),
            "vpp_edge": __version__,
        },
    )
    return ChildProcess(
        ChildSettings("log", restart=False, end_ns=RECORDER_END_NS),
        lambda generation: (run_telemetry, (settings, channels)),
        channels.telemetry,
        channels.telemetry_note,
    )


def _metrics(address: str, channels: Channels) -> ChildProcess:
    return ChildProcess(
        ChildSettings("metrics"),
        lambda generation: (run_metrics, (address, channels)),
        channels.metrics,
        channels.metrics_note,
    )


def _recorder(folder: str, config: SessionConfig, spec: PolicySpec, channels: Channels) -> ChildProcess:
    settings = RecorderSettings(
        folder=folder,
        instruction=config.instruction,
        period_ns=spec.action.period_ns,
        tick_rate_hz=config.rate_hz,
        sizes=tuple(camera.height for camera in spec.cameras),
        quaternion_order="xyzw" if spec.state is None else spec.state.quaternion_order,
        origin={
            "bundle": Path(config.bundle).name,
            "backend": config.backend,
            "hand": config.hand.name,
            "seed": config.seed,
            "rate_hz": config.rate_hz,
            "acts_per_look": config.acts_per_look,
        },
    )
    return ChildProcess(
        ChildSettings("recorder", restart=False, end_ns=RECORDER_END_NS),
        lambda generation: (run_recorder, (settings, channels)),
        channels.recorder,
        channels.recorder_note,
    )


def engine_threads() -> int:
    """All cores but one, which is left to the control loop."""
    return max(1, len(usable_cpus()) - 1)


def frame_period_ns(camera: CameraSource) -> int:
    """The requested time between two frames; 0 where it is left to the camera."""
    return round(1e9 / camera.fps) if camera.fps else 0
