"""A whole run: in, a bundle, cameras, a hand and an instruction; out, a moving hand and a report.

Three kinds of process (ARCHITECTURE.md): one per camera, one for the policy, and this one, which owns the hand. This
one imports no engine library.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.clock import MonotonicClock
from vpp_edge.errors import BadInputError, CheckFailedError
from vpp_edge.runtime.cameras.views import cameras_by_view
from vpp_edge.runtime.control.channel_link import SharedLink
from vpp_edge.runtime.control.contract import ControlReport, ControlSettings
from vpp_edge.runtime.control.loop import ControlLoop
from vpp_edge.runtime.interfaces import Hand
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child import Child, end_children
from vpp_edge.runtime.ipc.instruction import Instruction, write_instruction
from vpp_edge.runtime.ipc.real_time import on_cpus, quiet_interpreter, real_time_thread
from vpp_edge.runtime.policy.scripted import options_from_text, scripted_spec
from vpp_edge.runtime.session.children import start_children
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.report import PolicyReport, RunReport
from vpp_edge.runtime.session.report_from_channels import camera_reports, log_report, policy_report, recording_report
from vpp_edge.runtime.session.supervisor import Supervisor, Watch
from vpp_edge.runtime.session.throttling import Throttling
from vpp_edge.runtime.telemetry.mcap_log import check_log
from vpp_edge.runtime.telemetry.prometheus import checked_address
from vpp_edge.runtime.telemetry.recorder import check_recording
from vpp_edge.runtime.telemetry.viewer import check_viewer
from vpp_edge.spec.policy import PolicySpec

__all__ = ["SessionConfig", "check_certificate", "policy_spec", "run_session"]


def run_session(config: SessionConfig, watch: Watch | None = None) -> RunReport:
    """Runs until the duration is over, somebody stops it (Ctrl-C, SIGTERM) or a fault ends it; the hand is held then.

    Call it from the main thread, where it can catch signals.

    Raises:
        BadInputError, BundleError: cameras that do not fit the policy's views, no such bundle, a record folder that
            cannot be written, or a camera or the policy that can never work as it was asked. The hand has not moved.
        CheckFailedError: the bundle's parity certificate is missing or over its limits. The hand has not moved.
    """
    spec = policy_spec(config.bundle, config.backend)
    config = replace(config, cameras=cameras_by_view(spec, config.cameras))
    if config.backend != "scripted" and not config.ignore_certificate:
        check_certificate(Bundle(Path(config.bundle)))
    if config.record is not None:
        check_recording(config.record)
    if config.log is not None:
        check_log(config.log)
    if config.viewer is not None:
        check_viewer(config.viewer)
    if config.metrics is not None:
        checked_address(config.metrics)
    watch = watch or Watch(int(config.start_s * 1e9))
    dims = 7 + len(config.hand.limits.joint_names)
    channels = Channels.create(tuple(c.name for c in spec.cameras), spec.action.horizon, dims, _scene_size(config.hand))
    children: list[Child] = []
    resources = contextlib.ExitStack()
    try:
        write_instruction(channels.instruction, Instruction(config.instruction))
        link = resources.enter_context(
            contextlib.closing(SharedLink(channels, config.record is not None, config.telemetry))
        )
        loop = ControlLoop(
            config.hand, link, MonotonicClock(), spec.action.horizon, spec.action.period_ns, _control_settings(config)
        )
        with _signals_stop(loop):
            policy, recorder = start_children(config, spec, channels, children)
            supervisor = Supervisor(
                loop, link, channels, children, policy, watch, Throttling(Path(config.sysfs)), config.real_time
            )
            control, notes = _run_loop(loop, supervisor, config)
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
            log=log_report(config, channels, children) if config.telemetry else None,
            recording=None if recorder is None else recording_report(config.record or "", channels, recorder),
            notes=_notes(
                control, loop, policy_done, (*notes, *(f"throttled: {cause}" for cause in supervisor.throttled))
            ),
        )
    finally:
        channels.orders["stopping"] = 1
        end_children(children)
        resources.close()
        channels.close()


def _scene_size(hand: Hand) -> int:
    """How many numbers describe what simulated cameras show beside the hand; 0 for real hands."""
    return int(getattr(hand, "scene_size", 0))


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


def check_certificate(bundle: Bundle) -> None:
    """Raises CheckFailedError unless somebody measured that the bundle acts like the trained policy."""
    try:
        problems = certificate_from_json(bundle.manifest.certificate).problems()
    except BadInputError as error:
        problems = [str(error)]
    if problems:
        raise CheckFailedError(
            f"{bundle.path} is not certified to act like its policy: {'; '.join(problems)}. The hand was not moved. "
            "Export it anew within its limits, or take the risk with --ignore-certificate."
        )


def _run_loop(
    loop: ControlLoop, supervisor: Supervisor, config: SessionConfig
) -> tuple[ControlReport, tuple[str, ...]]:
    supervisor.start()
    core = None if config.control_cpu is None else {config.control_cpu}
    ordinary = contextlib.nullcontext(("scheduling: ordinary, as asked",))
    try:
        with quiet_interpreter(), real_time_thread() if config.real_time else ordinary as notes, on_cpus(core):
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
