"""Observations of the button task: in, a policy spec and how many; out, samples as the cameras give them on the way.

They take the place of recordings where the demo policy is calibrated and judged.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.runtime.policy.targets import state_from_hand
from vpp_edge.runtime.sim.expert import expert_targets
from vpp_edge.runtime.sim.lockstep import SimObservation, play
from vpp_edge.runtime.sim.renderer import SimRenderer
from vpp_edge.runtime.sim.task import Episode, episode_from_seed
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample, sample_from_images
from vpp_edge.workflow.observations import Observations

VIEWS = ("top", "side")  # the simulation's cameras, in the order of the demo policy's views
IMAGE_SIZE = 240
HORIZON = 8
FIRST_SEED = 20_000_000  # evaluation and training have lower ones


def expert_observations(spec: PolicySpec, count: int, seed: int) -> Observations:
    """One observation of each of `count` episodes that the expert plays, spread over the way to the button."""
    random = np.random.default_rng(seed)
    samples = []
    with SimRenderer(IMAGE_SIZE, IMAGE_SIZE, "software") as renderer:
        for i in range(count):
            episode = episode_from_seed(FIRST_SEED + 1000 * seed + i)
            moments = _moments(episode)
            moment = moments[(2 * i + 1) * len(moments) // (2 * count)]
            images = [renderer.render(view, moment.state, moment.scene) for view in VIEWS]
            samples.append(_sample(spec, episode.instruction, images, moment.state, random))
    words = f"{count} observations of the simulated expert"
    return Observations(tuple(samples), words, {"recordings": [], "samples": count, "seed": seed})


def _moments(episode: Episode) -> list[SimObservation]:
    moments = []

    def think(moment: SimObservation) -> np.ndarray:
        moments.append(moment)
        return expert_targets(episode, moment.state, HORIZON)

    play(episode, think, HORIZON)
    return moments


def _sample(
    spec: PolicySpec, instruction: str, images: list[np.ndarray], hand: np.ndarray, random: np.random.Generator
) -> Sample:
    return sample_from_images(spec, instruction, images, state=state_from_hand(spec, hand), generator=random)
