"""Physics: a finger presses a button, the button returns, and an episode starts as specified."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from vpp_edge.runtime.sim.expert import PRESS_M, TIP_M, expert_targets
from vpp_edge.runtime.sim.layout import COLOURS
from vpp_edge.runtime.sim.scene import PLATE_TOP_M, STEP_S, TRAVEL_M
from vpp_edge.runtime.sim.task import PRESSED_M, Episode, episode_from_seed
from vpp_edge.runtime.sim.world import World, scene_of

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("the simulation needs MuJoCo", allow_module_level=True)


def pass_time(world: World, seconds: float) -> None:
    for _ in range(round(seconds / STEP_S)):
        world.step()


def press(world: World, episode: Episode) -> None:
    for _ in range(60):
        world.aim(expert_targets(episode, world.vector(), 1)[0])
        pass_time(world, 0.1)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_finger_presses_one_button_which_comes_up_again(seed: int) -> None:
    episode = episode_from_seed(seed)
    asked = np.array(COLOURS) == episode.colour
    world = World(episode)
    press(world, episode)
    depths_m = world.depths_m()
    assert PRESSED_M < depths_m[asked][0] <= TRAVEL_M + 1e-3
    assert np.abs(depths_m[~asked]).max() < 1e-3
    np.testing.assert_array_equal(scene_of(world), [seed, *depths_m, 0, 0, 0])
    world.aim(world.vector() + 0.1 * (np.arange(19) == 2))
    pass_time(world, 1.0)
    assert np.abs(world.depths_m()).max() < 1e-3


def test_the_tip_of_the_pointing_finger_is_where_the_expert_assumes_it() -> None:
    episode = episode_from_seed(6)
    world = World(episode)
    press(world, episode)
    button = COLOURS.index(episode.colour)
    goal = (*episode.layout.places_m[button], PLATE_TOP_M + episode.layout.heights_m[button] - PRESS_M)
    np.testing.assert_allclose(world.vector()[:3] + TIP_M, goal, atol=0.003)


def test_nothing_moves_until_the_hand_does() -> None:
    episode = episode_from_seed(9)
    world = World(episode)
    np.testing.assert_allclose(world.vector(), episode.start, atol=1e-12)
    pass_time(world, 2.0)
    np.testing.assert_allclose(world.vector(), episode.start, atol=1e-4)
    assert np.abs(world.depths_m()).max() < 1e-4


def test_entering_resets_everything_and_rearranging_keeps_the_hand() -> None:
    first, second = episode_from_seed(1), episode_from_seed(2)
    world = World(first)
    press(world, first)
    pressed = world.vector()
    world.rearrange(second)
    np.testing.assert_array_equal(world.vector(), pressed)
    np.testing.assert_array_equal(scene_of(world), [2, *(0,) * 7])
    world.enter(second)
    fresh = World(second)
    for one in (world, fresh):
        press(one, second)
    np.testing.assert_array_equal(world.vector(), fresh.vector())
    np.testing.assert_array_equal(scene_of(world), scene_of(fresh))
