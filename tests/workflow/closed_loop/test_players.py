"""Players: what a policy sees, which policies are refused, and that the seed determines all randomness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.runtime.policy.scripted import scripted_spec
from vpp_edge.runtime.sim.hand import LIMITS
from vpp_edge.runtime.sim.lockstep import SimObservation
from vpp_edge.runtime.sim.renderer import SimRenderer
from vpp_edge.runtime.sim.task import Episode, episode_from_seed
from vpp_edge.runtime.sim.view_names import LIVE_SIZE, POLICY_IMAGE_SIDE, POLICY_VIEWS
from vpp_edge.runtime.sim.world import World, scene_of
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.workflow.closed_loop.players import (
    RANDOM,
    PlayerChoice,
    PolicyPlayer,
    RandomPlayer,
    check_drives_sim_hand,
    open_player,
)


def first_moment(episode: Episode) -> SimObservation:
    world = World(episode)
    return SimObservation(world.vector(), scene_of(world), 0.0)


@pytest.mark.parametrize("view", POLICY_VIEWS)
@pytest.mark.parametrize("seed", [3, 17])
def test_the_small_image_is_the_middle_of_the_live_one(view: str, seed: int) -> None:
    moment = first_moment(episode_from_seed(seed))
    live = SimRenderer(*LIVE_SIZE, "software").render(view, moment.state, moment.scene)
    small = SimRenderer(POLICY_IMAGE_SIDE, POLICY_IMAGE_SIDE, "software").render(view, moment.state, moment.scene)
    np.testing.assert_array_equal(small, live[:, 40:280])


def test_a_policy_is_given_what_a_live_run_gives_it(small_bundle: Path) -> None:
    """Instruction, state and noise as in the policy process, and the frames of the live images."""
    episode = episode_from_seed(3)
    moment, policy = first_moment(episode), EdgePolicy.load(small_bundle, threads=1)
    player = PolicyPlayer(EdgePolicy.load(small_bundle, threads=1))
    targets = player.enter(episode, (4, 5))(moment)

    with SimRenderer(*LIVE_SIZE, "software") as renderer:
        frames = policy.prepare([renderer.render(view, moment.state, moment.scene) for view in POLICY_VIEWS])
    policy.instruct(f"press the {episode.colour} button")
    random = np.random.default_rng((4, 5, 0))
    video_noise = random.standard_normal(policy.spec.video_noise_shape, dtype=np.float32)
    action_noise = random.standard_normal((1, *policy.spec.chunk_shape), dtype=np.float32)
    out = policy.infer(frames, policy.normalize_state(moment.state), video_noise=video_noise, action_noise=action_noise)
    physical = policy.denormalize(out.actions[0], moment.state)
    np.testing.assert_allclose(targets[:, 7:], physical[:, 6:], atol=1e-12)
    np.testing.assert_allclose(targets[:, :3], moment.state[:3] + physical[:, :3], atol=1e-12)
    assert len(player.inference_ns) == 1 and player.inference_ns[0] > 0


def test_random_motion_follows_from_the_seed_and_stays_in_reach() -> None:
    episode = episode_from_seed(0)
    moment = first_moment(episode)
    first, again, other = (RandomPlayer().enter(episode, (0, n))(moment) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert (first[:, :3] >= LIMITS.wrist_lower_m).all() and (first[:, :3] <= LIMITS.wrist_upper_m).all()
    assert (first[:, 7:] >= LIMITS.joint_lower_rad).all() and (first[:, 7:] <= LIMITS.joint_upper_rad).all()
    np.testing.assert_allclose(np.linalg.norm(first[:, 3:7], axis=1), 1)


def test_a_policy_that_fits_is_accepted(small_bundle: Path) -> None:
    check_drives_sim_hand(Bundle(small_bundle).manifest.policy)


def _mute(spec: PolicySpec) -> PolicySpec:
    (first, *others) = spec.action.segments
    return replace(spec, action=replace(spec.action, segments=(replace(first, kind="raw"), *others)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (scripted_spec({"views": 3}), r"needs 3 views \(static, wrist, wrist2\), the simulation has 2: top, side"),
        (scripted_spec({"joints": 16}), "16 joints"),
        (_mute(scripted_spec({})), "no known meaning"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(spec: PolicySpec, message: str) -> None:
    with pytest.raises(BadInputError, match=f"cannot play in the simulation: .*{message}"):
        check_drives_sim_hand(spec)


def test_a_choice_becomes_its_player() -> None:
    assert isinstance(open_player(PlayerChoice(RANDOM)), RandomPlayer)
