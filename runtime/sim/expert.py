"""The scripted expert for the button task, which computes the hand's next targets.

It knows where the buttons are and depends on the current state of hand and plate only, so it can start anywhere: it
shapes the fingers while moving above the button, goes down on it, and stays there. On a turning plate it moves along
with where the button will be.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.runtime.control.scalar_rotation import difference, turned
from vpp_edge.runtime.sim.scene import PLATE_TOP_M
from vpp_edge.runtime.sim.task import PALM_DOWN, Episode
from vpp_edge.runtime.sim.worlds.turning import AT_REST, Plate
from vpp_edge.spec.pose import PoseLayout

POINTING_RAD = np.array((1.5, 0.9, 0.6, 0.0, 0.6, 0.3, 1.8, 1.7, 1.8, 1.7, 1.8, 1.7))
TIP_M = np.array((0.131, 0.034, -0.130))  # lowest point of the pointing index finger, from the wrist, palm down
PRESS_M = 0.011  # target depth of the finger tip below a button's top; the finger yields by 2 mm
HOVER_M = 0.030  # height above the button on the way to it
# Largest change in one step of STEP_S, and largest share of the remaining way; all far inside the hand's limits.
STEP_S = 0.1
STEP_M, STEP_DOWN_M, STEP_RAD, STEP_TURN_RAD, SHARE = 0.017, 0.012, 0.30, 0.06, 0.6
LAG_S = 0.04  # from a target to the hand that has followed it
NEAR_M = 0.006  # horizontal distance within which the finger may go all the way down
SLOPE = 2.5  # height per metre of horizontal distance from the button
SHAPED_RAD = 0.25


def expert_targets(episode: Episode, state: np.ndarray, horizon: int, plate: Plate = AT_REST) -> np.ndarray:
    """(T, 19) absolute targets, 0.1 s apart, from a state (19,) in the layout of HandState.vector.

    Args:
        plate: at the time of the state. With a speed of 0, the targets are for where the button is now.
    """
    targets, button = np.empty((horizon, len(state))), chosen_button(episode)
    goal = _goal(episode, button, plate)
    for i, target in enumerate(targets):
        then = _goal(episode, button, plate.after((i + 1) * STEP_S + LAG_S))
        target[:] = _next(state, goal)
        target[PoseLayout.POSITION] += then - goal
        state, goal = target, then
    return targets


def _goal(episode: Episode, button: int, plate: Plate) -> np.ndarray:
    """(3,) where the wrist presses the button."""
    top_m = PLATE_TOP_M + episode.layout.heights_m[button]
    return np.array((*episode.layout.place_m(button, plate), top_m - PRESS_M)) - TIP_M


def chosen_button(episode: Episode) -> int:
    """The button that the expert goes to, among those of the requested colour: any, and the same all the time."""
    return int(np.random.default_rng((episode.seed, 4)).choice(episode.buttons))


def _next(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The target after a state, for a button that stands still; `goal` is where the wrist presses it."""
    place, fingers = state[PoseLayout.POSITION], state[PoseLayout.JOINTS]
    aside_m = float(np.hypot(*(goal - place)[:2]))
    shaped = np.abs(POINTING_RAD - fingers).max() < SHAPED_RAD
    above_m = min(HOVER_M, SLOPE * max(0.0, aside_m - NEAR_M)) if shaped else HOVER_M
    goal = goal + np.array((0.0, 0.0, above_m + (PRESS_M if above_m > 0 else 0.0)))
    step = SHARE * (goal - place)
    low = place[2] < goal[2] - 0.01  # next to the button and too low: up first
    step[:2] *= min(1.0, (0.2 if low else 1.0) * STEP_M / max(float(np.hypot(*step[:2])), 1e-9))
    step[2] = np.clip(step[2], -STEP_DOWN_M, STEP_M)
    turn = np.array(difference(state[PoseLayout.QUATERNION], PALM_DOWN))
    share = min(SHARE, STEP_TURN_RAD / max(float(np.linalg.norm(turn)), 1e-9))
    bend = np.clip(SHARE * (POINTING_RAD - fingers), -STEP_RAD, STEP_RAD)
    return np.concatenate([place + step, turned(state[PoseLayout.QUATERNION], turn, share), fingers + bend])
