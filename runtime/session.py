"""A whole run: in, a bundle, cameras, a hand and an instruction; out, a moving hand and a report.

Three kinds of process (ARCHITECTURE.md): one per camera, one for the policy, and this one, which owns the hand. This
one imports no engine library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.clock import MonotonicClock
from vpp_edge.errors import BadInputError
from vpp_edge.manifest import Bundle
from vpp_edge.runtime.accounts import camera_reports, policy_report, recording_report
from vpp_edge.runtime.control import ControlLoop
from vpp_edge.runtime.control_contract import ControlReport, ControlSettings
from vpp_edge.runtime.interfaces import Hand
from vpp_edge.runtime.messages import CameraChannel, Channels
from vpp_edge.runtime.policy_worker import PolicySettings, run_policy
from vpp_edge.runtime.processes import Child, ChildSettings, end_children
from vpp_edge.runtime.realtime import quiet_interpreter, real_time_thread
from vpp_edge.runtime.recording import RecorderSettings, check_recording, run_recorder
from vpp_edge.runtime.report import PolicyReport, RunReport
from vpp_edge.runtime.scripted_policy import options_from_text, scripted_spec
from vpp_edge.runtime.shared_link import SharedLink
from vpp_edge.runtime.supervisor import Supervisor, Watch
from vpp_edge.runtime.workers import run_camera
from vpp_edge.spec import PolicySpec

CAMERA_SILENT_NS = 2_000_000_000  # a hanging camera is back within 5 s
CAMERA_OPEN_NS = 15_000_000_000
RECORDER_END_NS = 60_000_000_000  # the last frames are encoded and the episode is given its name


@dataclass(frozen=True)
class SessionConfig:
    """What to run.

    Attributes:
        bundle: folder that `vpp-edge export` wrote.
        cameras: one CameraConfig per view of the policy, static camera first.
        hand: an open hand; the caller closes it.
        duration_s: from the first chunk; None: until stopped.
        threads: of the engine; None: all cores but one.
        seed: of the policy's noise.
        arm: which arm of a two-armed policy the hand is.
        record: folder of a data set to which the run is added as an episode.
        start_s: longest wait for the first chunk; engines of the full size take minutes to load.
        policy_silent_s: an inference that takes longer than this is taken to hang.
    """

    bundle: str
    cameras: tuple[Any, ...]
    hand: Hand
    instruction: str
    duration_s: float | None = None
    rate_hz: float = 100.0
    backend: str = "onnxruntime"
    threads: int | None = None
    seed: int = 0
    arm: int = 0
    dry_run: bool = False
    record: str | None = None
    start_s: float = 300.0
    policy_silent_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise BadInputError("the instruction is empty; say what the hand should do")
        if not 1 <= self.rate_hz <= 1000:
            raise BadInputError(f"control rate of {self.rate_hz} Hz; expected 1 to 1000")
        if self.duration_s is not None and not 0 < self.duration_s < 1e6:
            raise BadInputError(f"duration of {self.duration_s} s; expected a positive number")


def run_session(config: SessionConfig, watch: Watch | None = None) -> RunReport:
    """Runs until the duration is over, somebody stops it (Ctrl-C, SIGTERM) or a fault ends it; the hand is held then.

    Call it from the main thread, where it can catch signals.

    Raises:
        BadInputError, BundleError: wrong number of cameras, no such bundle, a record folder that cannot be written, or
            a camera or the policy that can never work as it was asked. The hand has not moved.
    """
    spec = policy_spec(config.bundle, config.backend)
    check_cameras(spec, config.cameras)
    if config.record is not None:
        check_recording(config.record)
    watch = watch or Watch(int(config.start_s * 1e9))
    dims = 7 + len(config.hand.limits.joint_names)
    channels = Channels.create(tuple(c.name for c in spec.cameras), spec.action.horizon, dims)
    children: list[Child] = []
    try:
        link = SharedLink(channels, recorded=config.record is not None)
        loop = ControlLoop(
            config.hand, link, MonotonicClock(), spec.action.horizon, spec.action.period_ns, _control_settings(config)
        )
        with _signals_stop(loop):
            policy, recorder = _children(config, spec, channels, children)
            supervisor = Supervisor(loop, link, channels, children, policy, watch)
            control, notes = _run_loop(loop, supervisor)
        if supervisor.hopeless and not loop.moving:
            raise BadInputError(supervisor.hopeless)
        policy_done = policy_report(channels, link, policy)
        return RunReport(
            instruction=config.instruction,
            bundle=config.bundle,
            hand=config.hand.name,
            seconds=loop.statistics.elapsed_s if loop.moving else 0.0,
            period_ms=loop.settings.period_ns / 1e6,
            control=control,
            policy=policy_done,
            cameras=camera_reports(channels, children),
            recording=None if recorder is None else recording_report(config.record or "", channels, recorder),
            notes=_notes(control, loop, policy_done, notes),
        )
    finally:
        channels.orders["stopping"] = 1
        end_children(children)
        channels.close()


def _control_settings(config: SessionConfig) -> ControlSettings:
    return ControlSettings(
        period_ns=round(1e9 / config.rate_hz),
        duration_ns=None if config.duration_s is None else round(config.duration_s * 1e9),
        dry_run=config.dry_run,
    )


def policy_spec(bundle: str, backend: str) -> PolicySpec:
    """The spec of a bundle, read from its manifest without any engine."""
    if backend == "scripted":
        return scripted_spec(options_from_text(bundle))
    return Bundle(Path(bundle)).manifest.policy


def check_cameras(spec: PolicySpec, cameras: tuple[Any, ...]) -> None:
    """Raises BadInputError unless there is one camera per view of the policy."""
    if len(cameras) != len(spec.cameras):
        views = ", ".join(camera.name for camera in spec.cameras)
        raise BadInputError(
            f"got {len(cameras)} cameras, this policy sees {len(spec.cameras)} views: {views}; "
            "give --camera once for each, in this order"
        )


def _children(
    config: SessionConfig, spec: PolicySpec, channels: Channels, children: list[Child]
) -> tuple[Child, Child | None]:
    """Starts every child process, slowest to load first; the policy's and the recorder's."""
    periods_ns = tuple(frame_period_ns(camera) for camera in config.cameras)
    settings = PolicySettings(
        config.bundle, config.backend, config.threads or engine_threads(), config.instruction, config.seed, config.arm,
        periods_ns, _grip(config.hand),
    )  # fmt: skip
    policy = Child(
        ChildSettings("policy", settings.threads, int(config.policy_silent_s * 1e9)),
        lambda generation: (run_policy, (settings, channels, generation)),
        channels.policy,
        channels.policy_note,
    )
    children.append(policy)
    for camera, channel in zip(config.cameras, channels.cameras, strict=True):
        children.append(_camera(camera, channel, channels))
    recorder = _recorder(config, spec, channels)
    if recorder is not None:
        children.append(recorder)
    for child in children:
        child.start()
    return policy, recorder


def _camera(config: Any, channel: CameraChannel, channels: Channels) -> Child:
    return Child(
        ChildSettings(f"camera {channel.name}", 1, CAMERA_SILENT_NS, CAMERA_OPEN_NS),
        lambda generation: (run_camera, (config, channel, channels.orders, channels.states)),
        channel.board,
        channel.note,
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


def _run_loop(loop: ControlLoop, supervisor: Supervisor) -> tuple[ControlReport, tuple[str, ...]]:
    supervisor.start()
    try:
        with quiet_interpreter(), real_time_thread() as notes:
            return loop.run(), notes
    finally:
        supervisor.finish()


@contextlib.contextmanager
def _signals_stop(loop: ControlLoop) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal take the safe stop; again and again changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal was closed"}
    before = {
        number: signal.signal(number, lambda number, _frame: loop.request_stop(names[signal.Signals(number)]))
        for number in names
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _notes(control: ControlReport, loop: ControlLoop, policy: PolicyReport, notes: tuple[str, ...]) -> tuple[str, ...]:
    """How the loop was scheduled, and why the hand moved with pauses if it did."""
    if control.chunks.waited_for <= max(1, control.chunks.used // 2):
        return notes
    late_s = policy.stages["observation to chunk"].p50_ms / 1e3
    text = f"stop and go: from frame to chunk it takes {late_s:.2f} s, a chunk lasts {loop.chunk_s:.2f} s"
    return (*notes, f"{text}; a faster backend or more --threads make the hand move without a pause")
