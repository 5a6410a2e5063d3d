"""Trials of camera faults: frames that are lost, late, frozen or missing, and cameras configured wrongly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import CameraConfig, camera_from_text
from vpp_edge.runtime.chaos.orders import CameraFault
from vpp_edge.runtime.chaos.result import (
    TrialResult,
    no_missed_period,
    unless,
    unless_answering,
    unless_normal_end,
)
from vpp_edge.runtime.chaos.trial import Awaited, Trial, TrialSetup
from vpp_edge.runtime.interfaces import Camera, CameraSource, LatestState, image_size_of
from vpp_edge.runtime.session.run import run_session
from vpp_edge.spec.pose import PoseLayout

DETECTED_MS, FROZEN_MS, HANGING_MS, AT_REST_MS = 200.0, 300.0, 5000.0, 100.0
STALE_FRAMES = 3
OUTAGE_S = 1.5  # at least; then the camera delivers frames again
HOLD_MARGIN_S = 0.5  # from the last chunk's end to the hold
WATCH_S = 1.5
EARLIER_MS = 300  # by then no observation from before the fault begins an inference


def _order(fault: CameraFault, view: int) -> Callable[[Trial], None]:
    return lambda trial: trial.orders.order_camera(fault, view)


def _frame_ms(setup: TrialSetup) -> float:
    return 1e3 / (setup.cameras[setup.last_view].fps or 30)


def dropped_frame(setup: TrialSetup) -> TrialResult:
    """One lost frame is counted and changes nothing else."""
    view = setup.last_view
    trial = Trial(setup, _order(CameraFault.DROP, view), 0.8).run()
    counted_ms = trial.ms_until_grown(f"dropped{view}")
    return no_missed_period(
        trial,
        observed=f"counted after {counted_ms or 0:.0f} ms",
        problems=unless(counted_ms is not None, "the loss was not counted") + unless_normal_end(trial),
    )


def stale_frames(setup: TrialSetup) -> TrialResult:
    """Frames with old timestamps: no chunk is computed from them."""
    awaited = Awaited(event=lambda trial: trial.ms_until_grown("stale_waits"), answers=1)
    trial = Trial(setup, _order(CameraFault.STALE, setup.last_view), setup.pace.watch_s(WATCH_S), awaited=awaited).run()
    begun, noticed = trial.begun, trial.awaited_ms is not None
    return TrialResult(
        observed="no chunk was computed from stale frames",
        measured_ms=trial.ms_until(begun == begun[-1]) or 0.0,
        bound_ms=STALE_FRAMES * _frame_ms(setup),
        measures="until the last inference began",
        problems=unless_answering(trial, noticed, "the stale view was not noticed") + unless_normal_end(trial),
    )


def _stopped_view(setup: TrialSetup, fault: CameraFault, bound_ms: float) -> TrialResult:
    """A view stops for a while: it is noticed, the hand holds at the end of its chunk, and moves when it is back."""
    view, latest_s = setup.last_view, setup.pace.committed_s + HOLD_MARGIN_S
    outage_s = max(OUTAGE_S, latest_s)
    moves = Awaited(event=lambda trial: trial.ms_until(trial.column("playing") >= 0, outage_s * 1e3), answers=2)
    recover = (outage_s, _order(CameraFault.NONE, view))
    trial = Trial(setup, _order(fault, view), outage_s, awaited=moves, later=(recover,)).run()
    held_ms = trial.ms_until(trial.column("playing") < 0)
    rest_ms = None if held_ms is None else trial.rest_after_ms(held_ms)
    moved_ms = trial.awaited_ms
    moved_s = 0.0 if moved_ms is None else moved_ms / 1e3 - outage_s
    in_time = held_ms is not None and held_ms <= latest_s * 1e3
    at_rest = rest_ms is not None and rest_ms <= AT_REST_MS
    return TrialResult(
        observed=f"held after {held_ms or 0:.0f} ms, at rest {rest_ms or 0:.0f} ms later; "
        f"moved {moved_s:.1f} s after the camera was back",
        measured_ms=_detection_ms(trial, view),
        bound_ms=bound_ms,
        measures="from the last frame to its detection",
        problems=(
            *unless(in_time, f"held after {held_ms} ms; what was observed before ends within {latest_s:.1f} s"),
            *unless(at_rest, f"at rest {rest_ms} ms after the end of the chunk"),
            *unless_answering(trial, moved_ms is not None, "did not move again when the camera was back"),
            *unless_normal_end(trial),
        ),
    )


def _detection_ms(trial: Trial, view: int) -> float | None:
    """From the last frame of a view to when it timed out; None if it never did."""
    noticed_ms = trial.ms_until_grown(f"timeouts{view}")
    if noticed_ms is None:
        return None
    delivered = trial.column(f"delivered{view}")
    return noticed_ms - (trial.ms_until(delivered == delivered[trial.index_at(noticed_ms)]) or 0)


def unplugged(setup: TrialSetup) -> TrialResult:
    """No frames for a while."""
    return _stopped_view(setup, CameraFault.SILENT, DETECTED_MS)


def frozen(setup: TrialSetup) -> TrialResult:
    """The same frame again and again for a while."""
    return _stopped_view(setup, CameraFault.FREEZE, FROZEN_MS)


def hanging(setup: TrialSetup) -> TrialResult:
    """A call of the camera SDK never returns: the process is killed, and a new one opens the camera."""
    view = setup.last_view
    trial = Trial(setup, _order(CameraFault.HANG, view), HANGING_MS / 1e3 + 0.5).run()
    pids, delivered = trial.column(f"pid{view}"), trial.column(f"delivered{view}")
    restarted_ms = trial.ms_until(pids != pids[trial.index_at(0)])
    back_ms = None
    if restarted_ms is not None:
        back_ms = trial.ms_until(delivered > delivered[trial.index_at(restarted_ms)], restarted_ms)
    return TrialResult(
        observed=f"killed and restarted after {restarted_ms or 0:.0f} ms",
        measured_ms=back_ms,
        bound_ms=HANGING_MS,
        measures="until the first frame of the new process",
        problems=(
            *unless(len(trial.report.cameras[view].deaths) == 1, "the camera process was not restarted once"),
            *unless(trial.longest_gap_ms() <= 5 * trial.report.period_ms, "the control loop was delayed"),
            *unless_normal_end(trial),
        ),
    )


@dataclass(frozen=True)
class _RenamedView:
    """A camera that claims to deliver another view."""

    inner: CameraSource
    view: str

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def fps(self) -> float | None:
        return self.inner.fps

    @property
    def image_size(self) -> tuple[int, int] | None:
        return image_size_of(self.inner)

    def open(self, latest_state: LatestState | None = None) -> Camera:
        return self.inner.open(latest_state)


def wrong_cameras(setup: TrialSetup) -> TrialResult:
    """Missing, duplicate, surplus or possibly swapped cameras are refused before the hand moves."""
    refused = [
        _text_refused(text) for text in ("video:nowhere.mp4", "software:sim/nowhere", "realsense?width=640&height=0")
    ]
    with closing(setup.open_hand()) as hand:
        before = hand.read().vector
        for cameras in _wrong_camera_lists(setup.cameras):
            try:
                run_session(replace(setup.config(hand), cameras=cameras, duration_s=0.5))
                refused.append(False)
            except BadInputError:
                refused.append(True)
        moved_m = float(np.abs(hand.read().vector - before)[PoseLayout.POSITION].max())
    return TrialResult(
        observed=f"{sum(refused)} of {len(refused)} wrong configurations refused at the start; "
        f"the hand moved {1000 * moved_m:.1f} mm",
        problems=unless(all(refused), "one was accepted") + unless(moved_m < 1e-3, "the hand moved"),
    )


def _text_refused(text: str) -> bool:
    try:
        camera_from_text(text)
    except BadInputError:
        return True
    return False


def _wrong_camera_lists(cameras: tuple[CameraSource, ...]) -> tuple[tuple[CameraSource, ...], ...]:
    absent = CameraConfig("realsense", "000000000000", width=640, height=480, fps=30)
    return (
        (*cameras[:-1], absent),
        (absent,) * len(cameras),
        (*cameras, cameras[-1]),
        tuple(_RenamedView(camera, "static") for camera in cameras),
        tuple(replace(absent, source=f"{number:012}") for number, _ in enumerate(cameras)),
        (_RenamedView(cameras[0], "nowhere"), *cameras[1:]),
    )


def skewed(setup: TrialSetup) -> TrialResult:
    """One view is 1.5 frames behind: it is paired with an earlier frame of the other, or the pair is skipped."""

    def judged(trial: Trial) -> float | None:
        """When a pair was used or skipped."""
        pairs = trial.begun + trial.column("apart_waits")
        return trial.ms_until(pairs > pairs[trial.index_at(EARLIER_MS) - 1], EARLIER_MS)

    awaited = Awaited(event=judged, answers=2)
    trial = Trial(setup, _order(CameraFault.SKEW, setup.last_view), setup.pace.watch_s(WATCH_S), awaited=awaited).run()
    after = trial.times_ns >= trial.injected_ns + EARLIER_MS * 1e6
    return TrialResult(
        observed=f"{int(trial.column('apart_waits')[-1])} pairs skipped",
        measured_ms=float(trial.column("spread_ns")[after].max(initial=0)) / 1e6,
        bound_ms=_frame_ms(setup),
        measures="time between the views of one observation",
        problems=unless_answering(trial, trial.awaited_ms is not None, "no more pairs") + unless_normal_end(trial),
    )
