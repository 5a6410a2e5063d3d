"""A loop that cannot keep up, a hand that is not where it was sent, and targets nobody can follow end the run."""

from __future__ import annotations

import numpy as np
import pytest
from hands_under_test import HOME, LIMITS
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.control.guards import (
    DEVIATING_NS,
    OVERRUNS_IN_A_ROW,
    RUNAWAY_NS,
    ObstructedError,
    OverrunGuard,
    RunawayGuard,
    TrackingGuard,
)

PERIOD_NS = 10_000_000


def first_error(checks):
    """Index of the first check that raises, and its words; (None, "") when none does."""
    for i, check in enumerate(checks):
        try:
            check()
        except HardwareFaultError as error:
            return i, str(error)
    return None, ""


@given(st.lists(st.integers(0, 3), max_size=40))
def test_overruns_end_a_run_at_the_fifth_in_a_row_and_not_before(skipped):
    guard = OverrunGuard()
    found, _ = first_error([lambda s=s: guard.check(s) for s in skipped])
    rows = [i for i in range(len(skipped)) if i >= 4 and all(skipped[i - 4 : i + 1])]
    assert OVERRUNS_IN_A_ROW == 5 and found == (rows[0] if rows else None)


def displaced(index, by):
    pose = HOME.copy()
    pose[index] += by
    return pose


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (displaced(8, 0.31), r"index 0\.31 rad \(limit 0\.30\)"),
        (displaced(8, -0.31), r"index 0\.31 rad"),
        (displaced(1, 0.031), r"wrist 31 mm \(limit 30\)"),
        ([*HOME[:3], 0, 0, np.sin(0.11), np.cos(0.11), *HOME[7:]], r"wrist 0\.22 rad \(limit 0\.20\)"),
        ([*HOME[:3], 0, 0, -np.sin(0.11), -np.cos(0.11), *HOME[7:]], r"wrist 0\.22 rad"),
    ],
)
def test_a_hand_away_from_its_command_for_100_ms_is_obstructed_by_name(pose, words):
    guard = TrackingGuard(LIMITS)
    for tick in range(DEVIATING_NS // PERIOD_NS):
        guard.check(np.array(pose), HOME, tick * PERIOD_NS)
    with pytest.raises(ObstructedError, match=words):
        guard.check(np.array(pose), HOME, DEVIATING_NS)


@given(st.lists(st.booleans(), max_size=60))
def test_one_moment_at_its_command_is_enough_for_patience(astray):
    guard = TrackingGuard(LIMITS)
    away, there = displaced(7, 0.5), displaced(7, 0.29)
    checks = [
        lambda i=i, gone=gone: guard.check(away if gone else there, HOME, i * PERIOD_NS)
        for i, gone in enumerate(astray)
    ]
    patience = DEVIATING_NS // PERIOD_NS
    rows = [i for i in range(patience, len(astray)) if all(astray[i - patience : i + 1])]
    assert first_error(checks)[0] == (rows[0] if rows else None)


def test_targets_that_are_always_too_far_end_the_run_after_a_second():
    guard, ticks = RunawayGuard(), RUNAWAY_NS // PERIOD_NS
    for tick in range(ticks):
        guard.check(tick + 1, tick * PERIOD_NS)
    with pytest.raises(HardwareFaultError, match="check the bundle's action scale"):
        guard.check(ticks + 1, RUNAWAY_NS)


@pytest.mark.parametrize(("every", "stops"), [(2, False), (3, False), (5, True), (50, True)])
def test_a_target_within_reach_now_and_then_does_not_hide_that_the_others_are_not(every, stops):
    guard, clamped = RunawayGuard(), [0]

    def check(tick):
        clamped[0] += tick % every != 0
        guard.check(clamped[0], tick * PERIOD_NS)

    found, _ = first_error([lambda tick=tick: check(tick) for tick in range(1000)])
    assert (found is not None) == stops
