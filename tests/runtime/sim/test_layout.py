"""Layouts and episodes are determined by their seed, and all of them can be played."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.runtime.sim.hand import LIMITS
from vpp_edge.runtime.sim.layout import (
    COLOURS,
    HEIGHTS_M,
    NOMINAL,
    PLATE_CENTRE_M,
    Layout,
    layout_from_seed,
)
from vpp_edge.runtime.sim.task import PALM_DOWN, START, Judge, episode_from_seed
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS

HALF_PLATE_M = 0.11
FINGER_M = 0.02  # width, which must fit between two buttons
seeds = st.integers(0, 2**40)


def check_layout(layout: Layout) -> None:
    places = np.array(layout.places_m)
    assert (np.abs(places - PLATE_CENTRE_M) + BUTTONS.button_radius_m < HALF_PLATE_M).all(), (
        "a button sticks out of the plate"
    )
    gaps_m = [
        np.linalg.norm(one - other) - 2 * BUTTONS.button_radius_m for one, other in itertools.combinations(places, 2)
    ]
    assert min(gaps_m) > FINGER_M
    assert all(HEIGHTS_M[0] <= height <= HEIGHTS_M[1] for height in layout.heights_m)
    assert len(layout.heights_m) == len(COLOURS)
    assert 0 < layout.ambient + layout.light <= 1


@given(seeds)
def test_buttons_are_on_the_plate_and_apart(seed: int) -> None:
    check_layout(layout_from_seed(seed))
    check_layout(NOMINAL)


@given(seeds)
def test_a_seed_determines_the_layout(seed: int) -> None:
    one, same = episode_from_seed(seed), episode_from_seed(seed)
    assert one.layout == same.layout and one.colour == same.colour
    np.testing.assert_array_equal(one.start, same.start)
    assert episode_from_seed(seed + 1).layout != one.layout


@given(seeds)
def test_the_hand_starts_within_its_limits_palm_down_and_clear_of_the_buttons(seed: int) -> None:
    start = episode_from_seed(seed).start
    assert (start[:3] >= LIMITS.wrist_lower_m).all() and (start[:3] <= LIMITS.wrist_upper_m).all()
    assert (start[7:] >= LIMITS.joint_lower_rad).all() and (start[7:] <= LIMITS.joint_upper_rad).all()
    assert abs(np.linalg.norm(start[3:7]) - 1) < 1e-9 and start[3:7] @ PALM_DOWN > 0.99
    assert start[2] > START[2] - 0.04


def test_every_colour_is_requested_and_placed_in_every_slot() -> None:
    episodes = [episode_from_seed(seed) for seed in range(400)]
    asked = [episode.colour for episode in episodes]
    assert all(70 < asked.count(colour) < 130 for colour in COLOURS)
    corners = [tuple(np.sign(np.subtract(e.layout.places_m[0], PLATE_CENTRE_M)).tolist()) for e in episodes]
    assert all(70 < corners.count(corner) < 130 for corner in itertools.product((-1.0, 1.0), repeat=2))
    assert episodes[0].instruction == f"press the {asked[0]} button"


DOWN, BRUSHED = 0.0051, 0.0049


@pytest.mark.parametrize(
    ("depths", "verdict"),
    [
        ({"asked": DOWN}, "success"),
        ({"asked": DOWN, "other": BRUSHED}, "success"),
        ({"asked": BRUSHED}, "running"),
        ({"other": DOWN}, "wrong button"),
        ({"asked": DOWN, "other": DOWN}, "wrong button"),
    ],
)
def test_only_the_requested_button_counts(depths: dict[str, float], verdict: str) -> None:
    episode = episode_from_seed(5)
    asked = COLOURS.index(episode.colour)
    seen = np.zeros(4)
    seen[asked], seen[asked - 1] = depths.get("asked", 0), depths.get("other", 0)
    judge = Judge(episode)
    assert judge.look(seen, 2.5) == judge.verdict == verdict
    assert judge.seconds == 2.5
    assert set(judge.pressed) == {COLOURS[i] for i in range(4) if seen[i] == DOWN}


def test_a_verdict_is_final() -> None:
    episode = episode_from_seed(5)
    judge = Judge(episode, time_limit_s=3)
    assert judge.look(np.zeros(4), 2.99) == "running"
    assert judge.look(np.zeros(4), 3.0) == "out of time"
    pressed = DOWN * (np.array(COLOURS) == episode.colour)
    assert judge.look(pressed, 3.1) == "out of time" and judge.seconds == 3.0 and judge.pressed == ()
