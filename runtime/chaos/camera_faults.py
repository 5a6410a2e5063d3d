"""Cameras that lose frames, stop, freeze or lie about time: in, a setting; out, what the run made of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import CameraConfig
from vpp_edge.runtime.chaos.orders import CameraFault
from vpp_edge.runtime.chaos.result import LONGEST_GAP, Fault, TrialResult, unless
from vpp_edge.runtime.chaos.trial import Setting, Trial
from vpp_edge.runtime.interfaces import Camera, CameraSource, LatestState
from vpp_edge.runtime.session.run import run_session
from vpp_edge.spec.pose import PoseLayout

DETECTED_MS, FROZEN_MS, HANGING_MS, AT_REST_MS = 200.0, 300.0, 5000.0, 100.0
STALE_FRAMES = 3
BACK_S = 1.5  # after so long the camera gives frames again


def _order(fault: CameraFault, view: int) -> Callable[[Trial], None]:
    return lambda trial: trial.orders.camera(fault, view)


def _frame_ms(setting: Setting) -> float:
    return 1e3 / (setting.cameras[setting.last_view].fps or 30)


def _ended_well(trial: Trial) -> tuple[str, ...]:
    return unless(trial.report.exit_status == 0, f"the run ended: {trial.report.ended}")


def dropped_frame(setting: Setting) -> TrialResult:
    """One frame less changes nothing."""
    view = setting.last_view
    trial = Trial(setting, _order(CameraFault.DROP, view), 0.8).run()
    gap_ms, counted = trial.longest_gap_ms(), trial.grown_ms(f"dropped{view}")
    return TrialResult(
        gap_ms,
        2 * trial.report.period_ms,
        f"counted after {counted or 0:.0f} ms",
        LONGEST_GAP,
        unless(counted is not None, "the loss was not counted") + _ended_well(trial),
    )


def stale_frames(setting: Setting) -> TrialResult:
    """Frames of the past: nothing new is thought about them."""
    trial = Trial(setting, _order(CameraFault.STALE, setting.last_view), 1.5).run()
    requests = trial.column("request")
    last = trial.ms_until(requests == requests[-1]) or 0.0
    waited = trial.grown_ms("stale_waits")
    return TrialResult(
        last,
        STALE_FRAMES * _frame_ms(setting),
        "nothing new was thought about the past",
        "last chunk that came",
        unless(waited is not None, "the stale view was not noticed") + _ended_well(trial),
    )


def _stopped_view(setting: Setting, fault: CameraFault, bound_ms: float) -> TrialResult:
    """The view stops: noticed, held at the end of the chunk, and moved again when it is back."""
    view, chunk_ms = setting.last_view, 0.0
    trial = Trial(
        setting,
        _order(fault, view),
        BACK_S + 3.0,
        later=((BACK_S, _order(CameraFault.NONE, view)),),
    ).run()
    chunk_ms = trial.loop.chunk_s * 1e3
    noticed, held = trial.grown_ms(f"timeouts{view}"), trial.ms_until(trial.column("playing") < 0)
    rest = None if held is None else trial.rest_ms(held)
    back = trial.ms_until(trial.column("playing") >= 0, BACK_S * 1e3)
    problems = (
        *unless(held is not None and held <= chunk_ms + 500, f"held after {held} ms, a chunk lasts {chunk_ms:.0f}"),
        *unless(rest is not None and rest <= AT_REST_MS, f"came to rest {rest} ms after the chunk's end"),
        *unless(back is not None, "did not move again when the camera was back"),
        *_ended_well(trial),
    )
    delivered = trial.column(f"delivered{view}")
    if noticed is not None:
        last = delivered[np.searchsorted(trial.times_ns, trial.begun_ns + noticed * 1e6)]
        noticed -= trial.ms_until(delivered == last) or 0
    back_s = 0.0 if back is None else back / 1e3 - BACK_S
    seen = f"held at {held or 0:.0f} ms, at rest {rest or 0:.0f} ms later; moved {back_s:.1f} s after its return"
    return TrialResult(noticed, bound_ms, seen, "noticed, from the last frame on", problems)


def unplugged(setting: Setting) -> TrialResult:
    """No frames any more, for a while."""
    return _stopped_view(setting, CameraFault.SILENT, DETECTED_MS)


def frozen(setting: Setting) -> TrialResult:
    """The same frame again and again, for a while."""
    return _stopped_view(setting, CameraFault.FREEZE, FROZEN_MS)


def hanging(setting: Setting) -> TrialResult:
    """A call into the camera's library never returns: the process is killed, a new one opens the camera."""
    view = setting.last_view
    trial = Trial(setting, _order(CameraFault.HANG, view), HANGING_MS / 1e3 + 0.5).run()
    first = trial.column(f"pid{view}")[trial.first]
    restarted = trial.ms_until(trial.column(f"pid{view}") != first)
    delivered = trial.column(f"delivered{view}")
    at_restart = (
        0 if restarted is None else delivered[np.searchsorted(trial.times_ns, trial.begun_ns + restarted * 1e6)]
    )
    back = None if restarted is None else trial.ms_until(delivered > at_restart, restarted)
    return TrialResult(
        back,
        HANGING_MS,
        f"killed and restarted after {restarted or 0:.0f} ms",
        "first frame of the new process",
        unless(len(trial.report.cameras[view].deaths) == 1, "the camera process was not restarted once")
        + unless(trial.longest_gap_ms() <= 5 * trial.report.period_ms, "the loop was disturbed")
        + _ended_well(trial),
    )


@dataclass(frozen=True)
class _AtView:
    """A camera that says it delivers another view."""

    inner: CameraSource
    view: str

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def fps(self) -> float | None:
        return self.inner.fps

    def open(self, latest_state: LatestState | None = None) -> Camera:
        return self.inner.open(latest_state)


def wrong_camera(setting: Setting) -> TrialResult:
    """Cameras that are not there, twice the same, too many, or that may be swapped: refused before the hand moves."""
    from vpp_edge.runtime.cameras.config import camera_from_text

    def texts_refused(text: str) -> bool:
        try:
            camera_from_text(text)
        except BadInputError:
            return True
        return False

    absent, cameras = CameraConfig("realsense", "000000000000", 640, 480, 30), setting.cameras
    of_one_name = tuple(_AtView(camera, "static") for camera in cameras)
    unnamed = tuple(replace(absent, source=f"{number:012}") for number, _ in enumerate(cameras))
    lists = (
        (*cameras[:-1], absent),
        (absent,) * len(cameras),
        (*cameras, cameras[-1]),
        of_one_name,
        unnamed,
        (_AtView(cameras[0], "nowhere"), *cameras[1:]),
    )
    found = [
        texts_refused(text) for text in ("video:nowhere.mp4", "software:sim/nowhere", "realsense?width=640&height=0")
    ]
    with closing(setting.open_hand()) as hand:
        before = hand.read().vector
        for given in lists:
            try:
                run_session(replace(setting.config(hand), cameras=given))
                found.append(False)
            except BadInputError:
                found.append(True)
        moved = float(np.abs(hand.read().vector - before)[PoseLayout.POSITION].max())
    return TrialResult(
        None,
        None,
        f"{sum(found)} of {len(found)} wrong configurations refused at the start, the hand moved {1000 * moved:.1f} mm",
        "",
        unless(all(found), "one was accepted") + unless(moved < 1e-3, "the hand moved"),
    )


def skewed(setting: Setting) -> TrialResult:
    """One view is a frame and a half behind: the other looks back to its moment, or nothing is thought."""
    trial = Trial(setting, _order(CameraFault.SKEW, setting.last_view), 1.5).run()
    after = trial.times_ns >= trial.begun_ns + 300_000_000  # what was on its way has arrived
    spread_ms = float(trial.column("spread_ns")[after].max(initial=0)) / 1e6
    waits = int(trial.column("apart_waits")[-1])
    return TrialResult(
        spread_ms, _frame_ms(setting), f"{waits} pairs skipped", "views of one observation apart by", _ended_well(trial)
    )


FAULTS = (
    Fault(1, "one camera frame dropped", "use the last one, count it", "no missed T", dropped_frame),
    Fault(2, "frames older than 2 frame periods", "no new chunk from a stale view", "3 frame periods", stale_frames),
    Fault(
        3,
        "camera unplugged",
        "finish committed actions, decelerate, hold; reopen",
        "detected in 200 ms, holding at chunk end",
        unplugged,
    ),
    Fault(4, "camera call hangs", "kill the camera process, restart", "5 s", hanging),
    Fault(5, "frozen image", "as when unplugged", "300 ms", frozen),
    Fault(6, "wrong, missing, doubled or swapped cameras", "refuse to start", "at start", wrong_camera),
    Fault(7, "two views too far apart in time", "pair by timestamp, or skip", "1 frame", skewed),
)
