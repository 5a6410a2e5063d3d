"""Observations of the button task, rendered along episodes that the scripted expert plays.

They replace recordings when a policy of this package is calibrated and evaluated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vpp_edge.bundle.separation import RecordingContent, content_keys
from vpp_edge.runtime.policy.targets import state_from_hand
from vpp_edge.runtime.sim.expert import expert_targets
from vpp_edge.runtime.sim.lockstep import SimObservation, play
from vpp_edge.runtime.sim.renderer import SimRenderer
from vpp_edge.runtime.sim.task import Episode, episode_from_seed
from vpp_edge.runtime.sim.view_names import POLICY_IMAGE_SIDE, POLICY_VIEWS
from vpp_edge.runtime.sim.world import plate_of
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, kind_from_name
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample, sample_from_images
from vpp_edge.wording import counted
from vpp_edge.workflow.observations import Observations

HORIZON = 8
FIRST_SEED = 20_000_000  # evaluation and training use lower ones


def expert_observations(
    spec: PolicySpec, count: int, seed: int, worlds: Sequence[str] = (BUTTONS.name,)
) -> Observations:
    """One observation from each of `count` expert episodes, at times spread over the motion to the button.

    Args:
        worlds: names of those to play in, in turns.
    """
    random = np.random.default_rng(seed)
    samples, content = [], []
    with SimRenderer(POLICY_IMAGE_SIDE, POLICY_IMAGE_SIDE, "software") as renderer:
        for i in range(count):
            kind = kind_from_name(worlds[i % len(worlds)])
            episode = episode_from_seed(FIRST_SEED + 1000 * seed + i, kind)
            seen = _observations(episode)
            row = (2 * i + 1) * len(seen) // (2 * count)
            observation = seen[row]
            images = [renderer.render(view, observation.state, observation.scene) for view in POLICY_VIEWS]
            samples.append(_sample(spec, episode.instruction, images, hand=observation.state, random=random))
            keys = content_keys([[hashlib.sha256(image.tobytes()).digest()] for image in images])
            content.append(RecordingContent(name=f"episode {episode.seed}", rows=(row,), keys=keys))
    words = f"{counted(count, 'observation')} of the simulated expert"
    return Observations(
        samples=tuple(samples),
        description=words,
        data={"recordings": [], "samples": count, "seed": seed},
        content=tuple(content),
    )


def _observations(episode: Episode) -> list[SimObservation]:
    observations: list[SimObservation] = []

    def targets(observation: SimObservation) -> np.ndarray:
        observations.append(observation)
        return expert_targets(episode, observation.state, HORIZON, plate_of(observation.scene))

    play(episode, targets, HORIZON)
    return observations


def _sample(
    spec: PolicySpec, instruction: str, images: list[np.ndarray], hand: np.ndarray, random: np.random.Generator
) -> Sample:
    return sample_from_images(spec, instruction, images, state=state_from_hand(spec, hand), generator=random)
