"""Creates demonstrations of "press the red button", as a data set in VPP's training layout.

    python make_data.py DATA [--world buttons] [--episodes 2000] [--seed 0]

Every episode has its own buttons and is played by the simulation's scripted expert. A third of them start where
evaluated episodes start, the others anywhere on or near the path, so that the policy learns to return to it. The
expert stays on the button: if it moved up again, one image would have two opposite correct actions.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from vpp_edge.cli.numbers import Number
from vpp_edge.number_range import whole
from vpp_edge.progress import Progress
from vpp_edge.runtime.sim.expert import HOVER_M, POINTING_RAD, TIP_M, chosen_button, expert_targets
from vpp_edge.runtime.sim.lockstep import Pace, SimObservation, play
from vpp_edge.runtime.sim.renderer import SimRenderer
from vpp_edge.runtime.sim.scene import PLATE_TOP_M
from vpp_edge.runtime.sim.task import PALM_DOWN, Episode, episode_from_seed
from vpp_edge.runtime.sim.view_names import POLICY_IMAGE_SIDE, POLICY_VIEWS
from vpp_edge.runtime.sim.world import plate_of
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, NAMES, WorldKind, kind_from_name
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.rotation import quaternion_from_rpy, quaternion_product
from vpp_edge.video import write_video

FIRST_SEED, WORLDS_PER_SEED = 10_000_000, 1_000_000  # evaluation uses lower worlds, the demo's calibration higher ones
SEED = whole(0, 9, why="calibration uses the worlds of further ones")
EPISODES = whole(1, WORLDS_PER_SEED)
RATE_HZ, HORIZON = 10, 10
HOLD_S, HOLD_TURNING_S = 0.8, 1.4  # on a turning plate as long as futures are predicted: it goes on turning in them
USUAL_SHARE = 1 / 3
HELD_OUT_EVERY = 20  # every 20th episode is kept for calibration and its evaluation


@dataclass(frozen=True)
class Demonstration:
    """What the expert did, sampled every 0.1 s: states (N, 19), commands (N, 19), scenes (N, 8)."""

    episode: Episode
    states: np.ndarray
    commands: np.ndarray
    scenes: np.ndarray


def demonstration(seed: int, kind: WorldKind = BUTTONS) -> Demonstration | None:
    """An episode played by the expert; None if it did not succeed, e.g. because a wrong button was down."""
    episode = episode_from_seed(seed, kind)
    random = np.random.default_rng((seed, 3))
    if random.random() > USUAL_SHARE:
        episode = replace(episode, start=anywhere(episode, random))
    moments: list[SimObservation] = []

    def think(moment: SimObservation) -> np.ndarray:
        moments.append(moment)
        return expert_targets(episode, moment.state, HORIZON, plate_of(moment.scene))

    period_ns = 1_000_000_000 // RATE_HZ
    hold_s = HOLD_TURNING_S if kind.turns else HOLD_S
    outcome = play(episode, think, HORIZON, Pace(period_ns, replan_ns=period_ns), linger_s=hold_s)
    if outcome.verdict != "success":
        return None
    ticks = [round(moment.seconds * 100) for moment in moments]
    while ticks[-1] >= len(outcome.commands):  # seen when the episode had just ended: no command followed
        ticks.pop()
        moments.pop()
    return Demonstration(
        episode,
        np.stack([moment.state for moment in moments]),
        outcome.commands[ticks],
        np.stack([moment.scene for moment in moments]),
    )


def anywhere(episode: Episode, random: np.random.Generator) -> np.ndarray:
    """(19,) start pose above or next to some button, with the fingers anywhere between open and pointing.

    Not where the expert would leave a button that it could as well press: from there, it would teach to hesitate.
    """
    chosen = chosen_button(episode)
    some = [i for i in range(len(episode.layout.colours)) if i == chosen or i not in episode.buttons]
    slot = some[random.integers(len(some))] if random.random() < 0.6 else chosen
    height_m = episode.layout.heights_m[slot]
    shaped = min(1.0, random.uniform(0.0, 1.8))
    start = episode.start.copy()
    start[:2] = np.array(episode.layout.places_m[slot]) + random.uniform(-0.05, 0.05, 2) - TIP_M[:2]
    lowest_m = PLATE_TOP_M + height_m + (0.002 if shaped == 1.0 else HOVER_M)
    start[2] = lowest_m - TIP_M[2] + random.uniform(0.0, 1.0) ** 2 * 0.11
    start[PoseLayout.QUATERNION] = quaternion_product(
        quaternion_from_rpy(random.uniform(-1, 1, 3) * (0.06, 0.06, 0.15)), np.array(PALM_DOWN)
    )
    joints = start[PoseLayout.JOINTS]
    joints += shaped * (POINTING_RAD - joints) + random.uniform(-0.05, 0.05, len(POINTING_RAD))
    np.maximum(joints, 0.0, out=joints)
    return start


def write_episode(folder: Path, number: int, split: str, shown: Demonstration, renderer: SimRenderer) -> None:
    """Writes the videos of both views, then the annotation, which makes the episode part of the data set."""
    videos = []
    for i, view in enumerate(POLICY_VIEWS):
        path = f"videos/{split}/{number}/{i}.mp4"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        images = (renderer.render(view, *pair) for pair in zip(shown.states, shown.scenes, strict=True))
        write_video(folder / path, images, RATE_HZ)
        videos.append({"video_path": path})
    annotation = {
        "task": "press_button",
        "texts": [shown.episode.instruction],
        "videos": videos,
        "views": list(POLICY_VIEWS),
        "episode_id": number,
        "video_length": len(shown.states),
        "states": shown.states.tolist(),
        "actions": shown.commands.tolist(),
    }
    path = folder / "annotation" / split / f"{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(annotation))
    partial.rename(path)


@cache
def _renderer() -> SimRenderer:
    """The one renderer of this process."""
    return SimRenderer(POLICY_IMAGE_SIDE, POLICY_IMAGE_SIDE, kind="software")


def make_episode(folder: Path, seed: int, number: int, world: str = BUTTONS.name) -> None:
    """Plays, renders and writes an episode, unless it exists already."""
    split = "val" if number % HELD_OUT_EVERY == 0 else "train"
    if not (folder / "annotation" / split / f"{number}.json").exists():
        shown = demonstration(FIRST_SEED + WORLDS_PER_SEED * seed + number, kind_from_name(world))
        if shown is not None:
            write_episode(folder, number, split, shown, renderer=_renderer())


def main() -> None:
    parser = argparse.ArgumentParser(description="create demonstrations of the button task, in VPP's training layout")
    parser.add_argument("data", type=Path, help="folder of the data set; existing episodes are kept")
    parser.add_argument("--world", choices=NAMES, default=BUTTONS.name)
    parser.add_argument("--episodes", type=Number(EPISODES), default=2000)
    parser.add_argument("--seed", type=Number(SEED), default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    make = partial(make_episode, arguments.data, arguments.seed, world=arguments.world)
    with (
        multiprocessing.get_context("spawn").Pool(arguments.processes) as pool,
        Progress("demonstrations", [("demonstrations", 1.0)]) as progress,
    ):
        progress.step("demonstrations")
        for i, _ in enumerate(pool.imap_unordered(make, range(arguments.episodes))):
            progress.update((i + 1) / arguments.episodes)


if __name__ == "__main__":
    main()
