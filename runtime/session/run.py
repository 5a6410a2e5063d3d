"""A whole run: a bundle, cameras, a hand and an instruction in; a moving hand and a report out.

Three kinds of process (ARCHITECTURE.md): one per camera, one for the policy, and this one, which owns the hand and
imports no engine library.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.clock import MonotonicClock
from vpp_edge.errors import BadInputError, CheckFailedError
from vpp_edge.runtime.cameras.views import cameras_by_view
from vpp_edge.runtime.control.channel_link import ChannelLink
from vpp_edge.runtime.control.contract import Cause, ControlReport, ControlSettings
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import image_size_of, scene_size_of
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_process import end_children
from vpp_edge.runtime.ipc.dtypes import pixel_bytes_of
from vpp_edge.runtime.ipc.instruction import Instruction, write_instruction
from vpp_edge.runtime.ipc.real_time import on_cpus, quiet_interpreter, real_time_thread
from vpp_edge.runtime.policy.engines.registry import check_backend
from vpp_edge.runtime.policy.handover_modes import check_steps
from vpp_edge.runtime.policy.scripted import options_from_text, scripted_spec
from vpp_edge.runtime.session.children import Children, children_from_config
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.report import PolicyReport, RunReport
from vpp_edge.runtime.session.report_from_channels import camera_reports, log_report, policy_report, recording_report
from vpp_edge.runtime.session.supervisor import Supervisor
from vpp_edge.runtime.session.throttling import Throttling
from vpp_edge.runtime.telemetry.mcap_log import check_log
from vpp_edge.runtime.telemetry.prometheus import check_address
from vpp_edge.runtime.telemetry.recorder import check_recording
from vpp_edge.runtime.telemetry.viewer import check_viewer
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.wording import counted


def run_session(config: SessionConfig, hooks: RunHooks | None = None) -> RunReport:
    """Runs until the duration is over, a signal stops it (Ctrl-C, SIGTERM) or a fault ends it; then the hand is held.

    Call it from the main thread, where it can catch signals.

    Raises:
        BadInputError, BundleError: cameras that do not fit the policy's views, no such bundle, an output that cannot
            be written, or a camera or policy that can never work with its settings. The hand has not moved.
        CheckFailedError: the bundle's parity certificate is missing or over its limits. The hand has not moved.
    """
    spec = policy_spec(config.bundle, config.backend)
    check_steps(config.chunking, len(spec.sigmas) - 1)
    config = replace(config, cameras=cameras_by_view(spec, config.cameras))
    notes = check_before_start(config)
    channels = Channels.create(
        tuple(camera.name for camera in spec.cameras),
        horizon=spec.action.horizon,
        dims=config.hand.limits.pose_dims,
        scene_size=scene_size_of(config.hand),
        pixel_bytes=tuple(pixel_bytes_of(image_size_of(camera)) for camera in config.cameras),
    )
    children: Children | None = None
    try:
        write_instruction(channels.instruction, Instruction(config.instruction))
        link = ChannelLink(channels, recorded=config.record is not None, logged=config.telemetry)
        with contextlib.closing(link):
            loop = ControlLoop(
                config.hand,
                link,
                MonotonicClock(),
                horizon=spec.action.horizon,
                action_period_ns=spec.action.period_ns,
                settings=_control_settings(config),
            )
            children = children_from_config(config, spec, channels)
            with _signals_stop(loop) as signals:
                for child in children:
                    child.start()
                supervisor = Supervisor(
                    loop,
                    link,
                    channels,
                    children,
                    hooks=hooks or RunHooks(),
                    throttling=Throttling(Path(config.sysfs)),
                    start_ns=round(config.start_s * 1e9),
                    real_time=config.real_time,
                )
                control, scheduling = _run_loop(loop, supervisor, config)
            if supervisor.hopeless and not loop.moving:
                raise BadInputError(supervisor.hopeless)
            notes = (
                *spec.notes,
                *notes,
                *scheduling,
                *supervisor.unread,
                *(f"throttled: {cause}" for cause in supervisor.throttled),
            )
            report = _report(config, loop, control, link=link, channels=channels, children=children, notes=notes)
            return replace(report, signals=tuple(signals))
    finally:
        channels.orders["stopping"] = 1
        end_children(list(children or ()))
        channels.close()


def check_before_start(config: SessionConfig) -> tuple[str, ...]:
    """Checks everything that could spoil the run and is known before it; raises as `run_session`.

    Returns:
        notes on what killed runs had left of the same outputs.
    """
    if config.backend != "scripted" and not config.ignore_certificate:
        check_certificate(Bundle(Path(config.bundle)))
    notes: tuple[str, ...] = ()
    if config.record is not None:
        notes += check_recording(config.record)
    if config.log is not None:
        notes += check_log(config.log)
    if config.viewer is not None:
        check_viewer(config.viewer)
    if config.metrics is not None:
        check_address(config.metrics)
    return notes


def policy_spec(bundle: str, backend: str) -> PolicySpec:
    """The spec of a bundle, read from its manifest without any engine; raises BadInputError for an unknown backend."""
    if backend == "scripted":
        return scripted_spec(options_from_text(bundle))
    check_backend(backend)
    return Bundle(Path(bundle)).manifest.policy


def check_certificate(bundle: Bundle) -> None:
    """Raises CheckFailedError unless the bundle is certified to act like the trained policy."""
    try:
        problems = certificate_from_json(bundle.manifest.certificate).problems()
    except BadInputError as error:
        problems = [str(error)]
    if problems:
        raise CheckFailedError(
            f"{bundle.path} is not certified to act like its policy: {'; '.join(problems)}. The hand was not moved. "
            "Export it again within its limits, or take the risk with --ignore-certificate."
        )


def _control_settings(config: SessionConfig) -> ControlSettings:
    return ControlSettings(
        period_ns=round(1e9 / config.rate_hz),
        duration_ns=None if config.duration_s is None else round(config.duration_s * 1e9),
        dry_run=config.dry_run,
    )


def _run_loop(
    loop: ControlLoop, supervisor: Supervisor, config: SessionConfig
) -> tuple[ControlReport, tuple[str, ...]]:
    """Runs the loop in this thread with the supervisor beside it; its report, and notes on its scheduling."""
    supervisor.start()
    core = None if config.control_cpu is None else {config.control_cpu}
    ordinary = contextlib.nullcontext(("scheduling: ordinary, as requested",))
    try:
        with quiet_interpreter(), real_time_thread() if config.real_time else ordinary as notes, on_cpus(core):
            return loop.run(), notes
    finally:
        supervisor.finish()


def _report(
    config: SessionConfig,
    loop: ControlLoop,
    control: ControlReport,
    *,
    link: ChannelLink,
    channels: Channels,
    children: Children,
    notes: tuple[str, ...],
) -> RunReport:
    policy = policy_report(channels, link, children.policy)
    return RunReport(
        instruction=config.instruction,
        bundle=config.bundle,
        hand=config.hand.name,
        seconds=loop.statistics.elapsed_s if loop.moving else 0.0,
        period_ms=loop.settings.period_ns / 1e6,
        control=control,
        policy=policy,
        cameras=camera_reports(channels, children),
        log=log_report(config, channels, children.telemetry),
        recording=recording_report(config, channels, children.recorder),
        notes=(*notes, *_metrics_notes(children), *_stop_and_go(control, policy, loop.chunk_s)),
    )


def _metrics_notes(children: Children) -> tuple[str, ...]:
    """Why nobody could read the counters for a while, if so."""
    deaths = () if children.metrics is None else children.metrics.deaths
    return tuple(f"{death} ({counted(deaths.count(death), 'time')})" for death in dict.fromkeys(deaths))


def _stop_and_go(control: ControlReport, policy: PolicyReport, chunk_s: float) -> tuple[str, ...]:
    """Why the hand moved with pauses, if it did."""
    if control.chunks.waited_for <= max(1, control.chunks.used // 2):
        return ()
    late_s = policy.stages["observation to chunk"].p50_ms / 1e3
    return (
        f"stop and go: from frame to chunk it takes {late_s:.2f} s, a chunk lasts {chunk_s:.2f} s; a faster backend or "
        "more --threads make the hand move without pauses",
    )


@contextlib.contextmanager
def _signals_stop(loop: ControlLoop) -> Iterator[list[str]]:
    """Ctrl-C, SIGTERM and a closed terminal take the safe stop; repeating them changes nothing. Lists what came."""
    received: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    names = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal was closed"}

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(names[signal.Signals(number)])
        loop.request_stop(received[-1], cause=Cause.SIGNAL)

    before = {number: signal.signal(number, stop) for number in names}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
