"""The children of a session: in, its configuration; out, policy, camera and recorder processes, started and watched."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge import __version__
from vpp_edge.runtime.cameras.process import run_camera
from vpp_edge.runtime.interfaces import Hand
from vpp_edge.runtime.ipc.channels import CameraChannel, Channels
from vpp_edge.runtime.ipc.child import Child, ChildSettings
from vpp_edge.runtime.ipc.real_time import other_cpus
from vpp_edge.runtime.policy.process import PolicySettings, run_policy
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.telemetry.process import TelemetrySettings, run_telemetry
from vpp_edge.runtime.telemetry.prometheus import run_metrics
from vpp_edge.runtime.telemetry.recorder import RecorderSettings, run_recorder
from vpp_edge.spec.policy import PolicySpec

POLICY_FAILURES = 2  # after an error of the engine it is built anew once
CAMERA_SILENT_NS = 2_000_000_000  # a hanging camera is back within 5 s
CAMERA_OPEN_NS = 15_000_000_000
RECORDER_END_NS = 60_000_000_000  # the last frames are encoded and the episode is given its name


def start_children(
    config: SessionConfig, spec: PolicySpec, channels: Channels, children: list[Child]
) -> tuple[Child, Child | None]:
    """Starts every child process, slowest to load first; the policy's and the recorder's."""
    periods_ns = tuple(frame_period_ns(camera) for camera in config.cameras)
    settings = PolicySettings(
        config.bundle, config.backend, config.provider, config.threads or engine_threads(), config.seed,
        config.arm, periods_ns, _grip(config.hand), config.chunking, round(1e9 / config.rate_hz),
        config.around_policy,
    )  # fmt: skip
    policy = Child(
        ChildSettings("policy", settings.threads, int(config.policy_silent_s * 1e9), failures=POLICY_FAILURES),
        lambda generation: (run_policy, (settings, channels, generation)),
        channels.policy,
        channels.policy_note,
    )
    children.append(policy)
    for camera, channel in zip(config.cameras, channels.cameras, strict=True):
        children.append(_camera(camera, channel, channels))
    if config.telemetry:
        children.append(_telemetry(config, channels))
    if config.metrics is not None:
        children.append(_metrics(config.metrics, channels))
    recorder = _recorder(config, spec, channels)
    if recorder is not None:
        children.append(recorder)
    for child in children:
        child.settings = replace(child.settings, cpus=other_cpus(config.control_cpu))
        child.start()
    return policy, recorder


def _camera(config: Any, channel: CameraChannel, channels: Channels) -> Child:
    return Child(
        ChildSettings(f"camera {channel.name}", 1, CAMERA_SILENT_NS, CAMERA_OPEN_NS),
        lambda generation: (run_camera, (config, channel, channels.orders, channels.states)),
        channel.board,
        channel.note,
    )


def _telemetry(config: SessionConfig, channels: Channels) -> Child:
    about = {
        "bundle": Path(config.bundle).name,
        "hand": config.hand.name,
        "instruction": config.instruction,
        "rate_hz": f"{config.rate_hz:g}",
        "vpp_edge": __version__,
    }
    settings = TelemetrySettings(
        config.log, config.viewer, config.hand.limits.joint_names, round(1e9 / config.log_frames_hz), about
    )
    return Child(
        ChildSettings("log", restart=False, end_ns=RECORDER_END_NS),
        lambda generation: (run_telemetry, (settings, channels)),
        channels.telemetry,
        channels.telemetry_note,
    )


def _metrics(address: str, channels: Channels) -> Child:
    return Child(
        ChildSettings("metrics"),
        lambda generation: (run_metrics, (address, channels)),
        channels.metrics,
        channels.metrics_note,
    )


def _recorder(config: SessionConfig, spec: PolicySpec, channels: Channels) -> Child | None:
    if config.record is None:
        return None
    settings = RecorderSettings(
        folder=config.record,
        instruction=config.instruction,
        period_ns=spec.action.period_ns,
        sizes=tuple(camera.height for camera in spec.cameras),
        quaternion_order="xyzw" if spec.state is None else spec.state.quaternion_order,
        origin={
            "bundle": Path(config.bundle).name,
            "backend": config.backend,
            "hand": config.hand.name,
            "seed": config.seed,
            "rate_hz": config.rate_hz,
        },
    )
    return Child(
        ChildSettings("recorder", restart=False, end_ns=RECORDER_END_NS),
        lambda generation: (run_recorder, (settings, channels)),
        channels.recorder,
        channels.recorder_note,
    )


def engine_threads() -> int:
    """All cores but one, which control keeps for itself."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable - 1)


def frame_period_ns(camera: Any) -> int:
    """Time between two frames that a CameraConfig asks for; 0 where it leaves that to the camera."""
    rate_hz = getattr(camera, "fps", None)
    return round(1e9 / rate_hz) if rate_hz else 0


def _grip(hand: Hand) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The hand's open and closed pose, for policies that only give a gripper's width; None where it names none."""
    grip = getattr(hand, "grip", None)
    if grip is None:
        return None
    opened, closed = (tuple(float(v) for v in np.asarray(pose)) for pose in grip)
    return opened, closed
