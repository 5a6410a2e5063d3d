"""What each kind of world asks, and that its episodes are as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.bundle.closed_loop import FIRST_WORLD
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.sim.expert import chosen_button
from vpp_edge.runtime.sim.layout import COLOURS, PLATE_CENTRE_M, TURNS_RAD_S
from vpp_edge.runtime.sim.scene import ROUND_PLATE_M
from vpp_edge.runtime.sim.task import Judge, episode_from_seed, instructions_of
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, EITHER, KINDS, NAMES, TURNTABLE, WorldKind, kind_from_name
from vpp_edge.runtime.sim.worlds.turning import STANDING

seeds = st.integers(0, 2**40)
DOWN_M = 0.0051


def test_a_kind_is_found_by_its_name() -> None:
    assert tuple(kind_from_name(name) for name in NAMES) == KINDS
    assert BUTTONS.name == FIRST_WORLD
    with pytest.raises(BadInputError, match=r"'turntabel'.*mean 'turntable'.*buttons, turntable, either"):
        kind_from_name("turntabel")


@given(seeds, st.sampled_from(KINDS))
def test_an_episode_has_as_many_buttons_of_its_colour_as_its_kind_says(seed: int, kind: WorldKind) -> None:
    episode = episode_from_seed(seed, kind)
    assert episode.layout.colours.count(episode.colour) == len(episode.buttons) == kind.alike
    assert set(episode.layout.colours) <= set(COLOURS) and len(set(episode.layout.colours)) == 5 - kind.alike
    assert episode.instruction in instructions_of(kind) and episode.colour in episode.instruction
    assert chosen_button(episode) in episode.buttons
    assert (episode.layout.turning == STANDING) == (not kind.turns)


@given(seeds)
def test_on_a_turntable_the_buttons_are_on_the_plate_and_apart_all_the_way_round(seed: int) -> None:
    layout = episode_from_seed(seed, TURNTABLE).layout
    assert TURNS_RAD_S[0] <= abs(layout.turning.speed_rad_s) <= TURNS_RAD_S[1]
    for seconds in (0.0, 0.7, 2.5):
        places = [layout.place_m(i, layout.turning.plate_at(seconds)) for i in range(4)]
        assert all(math.dist(p, PLATE_CENTRE_M) + TURNTABLE.button_radius_m < ROUND_PLATE_M for p in places)
        assert min(math.dist(a, b) for a in places for b in places if a is not b) > 0.07


def test_both_directions_both_of_two_buttons_and_some_reversals_occur() -> None:
    turns = [episode_from_seed(seed, TURNTABLE).layout.turning for seed in range(200)]
    assert 70 < sum(turning.speed_rad_s > 0 for turning in turns) < 130
    assert 40 < sum(turning.reverses_s < TURNTABLE.time_limit_s for turning in turns) < 95
    episodes = [episode_from_seed(seed, EITHER) for seed in range(200)]
    firsts = np.array([chosen_button(episode) == episode.buttons[0] for episode in episodes])
    nearer = np.array([e.layout.places_m[e.buttons[0]][0] < e.layout.places_m[e.buttons[1]][0] for e in episodes])
    assert 70 < firsts.sum() < 130 and 70 < (firsts == nearer).sum() < 130, "whichever is nearer to the hand"


@pytest.mark.parametrize(
    ("down", "verdict"),
    [("a", "success"), ("b", "success"), ("ab", "success"), ("x", "wrong button"), ("ax", "wrong button")],
)
def test_either_of_the_two_counts_and_no_other(down: str, verdict: str) -> None:
    episode = episode_from_seed(3, EITHER)
    other = next(i for i in range(4) if i not in episode.buttons)
    depths = np.zeros(4)
    for letter in down:
        depths[dict(zip("abx", (*episode.buttons, other), strict=True))[letter]] = DOWN_M
    assert Judge(episode).look(depths, 1.0) == verdict


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_an_episode_lasts_as_long_as_its_kind_says(kind: WorldKind) -> None:
    judge = Judge(episode_from_seed(1, kind))
    assert judge.look(np.zeros(4), kind.time_limit_s - 0.01) == "running"
    assert judge.look(np.zeros(4), kind.time_limit_s) == "out of time"
