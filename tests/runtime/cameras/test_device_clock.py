"""Stamps from the clock of a device: between exposure and arrival, whatever transport and clock do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.runtime.cameras.device_clock import LONGEST_JITTER_NS, DeviceClock

MS = 1_000_000
FRAMES, STEP_AT = 200, 100
WORST_NS = 1 * MS  # error of a stamp while the clock's offset is known
FEW = 6  # frames, of which one is not late


@given(st.lists(st.integers(0, LONGEST_JITTER_NS // 2), min_size=1, max_size=200), st.integers(-(10**18), 10**18))
def test_a_stamp_is_between_exposure_and_arrival(latencies_ns, offset_ns):
    clock, rounding_ns = DeviceClock(), 200_000  # of a float64 of 1e12 ms
    for n, latency_ns in enumerate(latencies_ns):
        exposure_ns = 33_000_000 * n
        arrival_ns = exposure_ns + latency_ns
        stamp_ns = clock.stamp_ns((exposure_ns + offset_ns) / 1e6, arrival_ns)
        assert exposure_ns - rounding_ns <= stamp_ns <= arrival_ns


@pytest.mark.parametrize("step_ms", [-3_600_000, -500, 500, 3_600_000])
def test_setting_the_clock_costs_no_more_than_the_jitter(step_ms):
    clock = DeviceClock()
    for n in range(100):
        arrival_ns = 33_000_000 * n
        stamp_ns = clock.stamp_ns(33.0 * n + (step_ms if n >= 50 else 0), arrival_ns)
        assert 0 <= arrival_ns - stamp_ns <= LONGEST_JITTER_NS
    assert stamp_ns == arrival_ns


@dataclass(frozen=True)
class Stream:
    """Frames of a simulated camera.

    Attributes:
        latency_ns: of each frame; transport is late, never early.
        step_ns: the clock is set by this much before frame STEP_AT.
        drift: of the device's clock, seconds per second.
        lost: numbers of the frames that never arrive.
    """

    latency_ns: np.ndarray
    period_ns: int = 33_333_333
    step_ns: int = 0
    drift: float = 0.0
    lost: frozenset[int] = frozenset()

    def errors_ns(self) -> np.ndarray:
        """Stamp minus exposure of each frame; 0 where it was lost."""
        clock, errors = DeviceClock(), np.zeros(FRAMES)
        for number, latency_ns in enumerate(self.latency_ns):
            if number in self.lost:
                continue
            exposure_ns = 10**12 + self.period_ns * number
            arrival_ns = exposure_ns + int(latency_ns)
            device_ns = exposure_ns * (1 + self.drift) + (self.step_ns if number >= STEP_AT else 0)
            stamp_ns = clock.stamp_ns(device_ns / 1e6, arrival_ns, number)
            assert stamp_ns <= arrival_ns
            errors[number] = stamp_ns - exposure_ns
        return errors


def jitter_ns(seed: int, typical_ms: float = 4.0) -> np.ndarray:
    """Latencies of FRAMES frames; the first and half of the others are not late at all."""
    random = np.random.default_rng(seed)
    late = random.random(FRAMES) < 0.5
    late[0] = False
    return np.round(random.exponential(typical_ms * MS, FRAMES)) * late


STEPS_MS = [-249, -200, -150, -100, -66.7, -50, -33.3, -20, 20, 33.3, 50, 66.7, 100, 200, 249, 400]


@pytest.mark.parametrize("fps", [6, 15, 30, 60, 90])
@pytest.mark.parametrize("step_ms", STEPS_MS)
def test_a_clock_that_is_set_is_followed_at_once(step_ms: float, fps: int) -> None:
    """After a step forward a stamp is as late as the least late frame since then; after one back, not even that."""
    for seed in range(5):
        latency_ns = jitter_ns(seed)
        stream = Stream(latency_ns, period_ns=10**9 // fps, step_ns=round(step_ms * MS), drift=50e-6)
        errors = stream.errors_ns()
        least_late_ns = np.minimum.accumulate(latency_ns[STEP_AT:]) if step_ms > 0 else np.zeros(FRAMES - STEP_AT)
        assert np.abs(errors[:STEP_AT]).max() <= WORST_NS
        assert (errors[STEP_AT:] >= -WORST_NS).all()
        assert (errors[STEP_AT:] <= least_late_ns + WORST_NS).all()
        assert np.abs(errors[STEP_AT + FEW :]).max() <= WORST_NS


@pytest.mark.parametrize("numbered", [True, False])
def test_a_device_that_jumps_back_and_forth_is_followed(numbered: bool) -> None:
    clock = DeviceClock()
    for number, latency_ns in enumerate(jitter_ns(3)):
        exposure_ns = 33_000_000 * number
        device_ns = exposure_ns - (number // 10 % 2) * 120 * MS
        stamp_ns = clock.stamp_ns(device_ns / 1e6, exposure_ns + int(latency_ns), number if numbered else None)
        assert -WORST_NS <= stamp_ns - exposure_ns <= latency_ns + WORST_NS


@pytest.mark.parametrize("step_ms", [step for step in STEPS_MS if step < 0])
def test_a_step_among_late_frames_is_found(step_ms: float) -> None:
    """Neither the frame before the step nor those after it arrive on time."""
    for late_ms in (20, 60, 120):
        latency_ns = jitter_ns(0)
        latency_ns[STEP_AT - 3 : STEP_AT + 6] = late_ms * MS * np.linspace(1, 0.5, 9)
        errors = Stream(latency_ns, step_ns=round(step_ms * MS)).errors_ns()
        assert np.abs(errors).max() <= WORST_NS, (late_ms, errors[STEP_AT:])


@pytest.mark.parametrize("gap", [1, 2, 5])
@pytest.mark.parametrize("step_ms", [step for step in STEPS_MS if step < 0])
def test_frames_that_are_lost_with_the_step_do_not_hide_it(step_ms: float, gap: int) -> None:
    lost = frozenset(range(STEP_AT - gap // 2, STEP_AT - gap // 2 + gap))
    errors = Stream(jitter_ns(1), step_ns=round(step_ms * MS), lost=lost).errors_ns()
    assert np.abs(errors).max() <= WORST_NS


@given(st.integers(1, 20), st.integers(10, 240), st.integers(0, 5), st.booleans(), st.integers(0, 9))
def test_late_frames_are_never_taken_for_a_step(frames: int, late_ms: int, lost: int, queued: bool, seed: int) -> None:
    """Whether they stay late, as on a busy machine, or arrive together, as after a stalled bus."""
    latency_ns = jitter_ns(seed)
    share = np.linspace(1, 0, frames) if queued else np.ones(frames)
    latency_ns[STEP_AT : STEP_AT + frames] = np.maximum(latency_ns[STEP_AT : STEP_AT + frames], late_ms * MS * share)
    missing = frozenset(range(STEP_AT - lost, STEP_AT))
    errors = Stream(latency_ns, drift=50e-6, lost=missing).errors_ns()
    assert np.abs(errors).max() <= WORST_NS


@pytest.mark.parametrize("late_ms", [0, 5, 30, 100])
def test_a_camera_that_becomes_faster_after_a_dark_scene_is_no_step(late_ms: int) -> None:
    clock, exposure_ns = DeviceClock(), 0
    random = np.random.default_rng(2)
    for number in range(FRAMES):
        exposure_ns += 66_666_666 if number < STEP_AT else 33_333_333
        latency_ns = int(random.integers(0, 5 * MS)) if number % 7 else 0
        latency_ns = late_ms * MS if number == STEP_AT else latency_ns
        stamp_ns = clock.stamp_ns(exposure_ns / 1e6, exposure_ns + latency_ns, number)
        # Only a frame that is late by the very step may be mistaken for one, until the next frame that is not late.
        if number > 0 and not STEP_AT <= number < STEP_AT + 7:
            assert abs(stamp_ns - exposure_ns) <= WORST_NS
        assert stamp_ns <= exposure_ns + latency_ns
