"""Whole episodes in simulated time: the expert presses the requested button, deterministically."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from vpp_edge.runtime.policy.handover_modes import RTC
from vpp_edge.runtime.sim.expert import expert_targets
from vpp_edge.runtime.sim.hand import LIMITS
from vpp_edge.runtime.sim.layout import COLOURS
from vpp_edge.runtime.sim.lockstep import Outcome, Pace, SimObservation, play
from vpp_edge.runtime.sim.task import Episode, episode_from_seed
from vpp_edge.runtime.sim.world import SCENE_SIZE, plate_of
from vpp_edge.runtime.sim.worlds.kinds import EITHER, TURNTABLE

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("the simulated hand needs MuJoCo", allow_module_level=True)

HORIZON, MS = 8, 1_000_000
FRESH = range(500_000, 500_040)
AT_ONCE, DELAYED = Pace(), Pace(delay_ns=200_000_000)


def played(episode: Episode, pace: Pace = AT_ONCE, wanted: Episode | None = None, **options: float) -> Outcome:
    """The episode as the expert of `wanted` plays it."""
    return play(episode, lambda m: expert_targets(wanted or episode, m.state, HORIZON), HORIZON, pace, **options)


@pytest.mark.parametrize("pace", [AT_ONCE, DELAYED], ids=["at once", "200 ms late"])
def test_the_expert_always_succeeds(pace: Pace) -> None:
    outcomes = [played(episode_from_seed(seed), pace) for seed in FRESH]
    assert [o.verdict for o in outcomes] == ["success"] * len(FRESH)
    assert all(o.pressed == (o.colour,) and 1 < o.seconds < 6 for o in outcomes)


@pytest.mark.parametrize("pace", [AT_ONCE, DELAYED, Pace(replan_ns=100_000_000)], ids=["at once", "late", "often"])
def test_on_a_turntable_only_who_goes_to_where_the_button_will_be_presses_it(pace: Pace) -> None:
    for predicts, verdict in ((True, "success"), (False, "out of time")):
        for seed in FRESH[:6]:
            episode = episode_from_seed(seed, TURNTABLE)

            def targets(moment: SimObservation, episode: Episode = episode, predicts: bool = predicts) -> np.ndarray:
                plate = plate_of(moment.scene)
                plate = plate if predicts else replace(plate, speed_rad_s=0.0)
                return expert_targets(episode, moment.state, HORIZON, plate)

            assert play(episode, targets, HORIZON, pace).verdict == verdict, (seed, predicts)


def test_the_expert_presses_one_of_two_buttons() -> None:
    for seed in FRESH[:8]:
        episode = episode_from_seed(seed, EITHER)
        outcome = played(episode, DELAYED)
        assert (outcome.verdict, outcome.pressed) == ("success", (episode.colour,))


def test_another_button_is_the_wrong_button() -> None:
    for seed in (1, 2, 3):
        episode = episode_from_seed(seed)
        other = COLOURS[COLOURS.index(episode.colour) - 1]
        outcome = played(episode, wanted=replace(episode, colour=other))
        assert (outcome.verdict, outcome.pressed, outcome.colour) == ("wrong button", (other,), episode.colour)


def test_a_hand_at_rest_runs_out_of_time() -> None:
    outcome = play(episode_from_seed(1), lambda m: np.tile(m.state, (HORIZON, 1)), HORIZON, time_limit_s=1.5)
    assert outcome.verdict == "out of time" and outcome.pressed == ()
    assert outcome.seconds == pytest.approx(1.5) and np.ptp(outcome.states[:, :3], axis=0).max() < 0.01


def test_the_same_episode_is_the_same_to_the_last_bit() -> None:
    one, same = (played(episode_from_seed(7), DELAYED) for _ in range(2))
    np.testing.assert_array_equal(one.states, same.states)
    np.testing.assert_array_equal(one.commands, same.commands)
    assert one.seconds == same.seconds


def test_commands_stay_within_the_limits() -> None:
    outcome = played(episode_from_seed(11))
    joints, wrist = outcome.commands[:, 7:], outcome.commands[:, :3]
    assert (joints >= LIMITS.joint_lower_rad).all() and (joints <= LIMITS.joint_upper_rad).all()
    assert np.linalg.norm(np.diff(wrist, axis=0), axis=1).max() <= LIMITS.wrist_speed_m_s * 0.01 + 1e-9
    assert outcome.states.shape == outcome.commands.shape


def test_an_episode_may_linger_after_its_verdict() -> None:
    short, long = (played(episode_from_seed(3), linger_s=seconds) for seconds in (0.0, 0.8))
    assert short.seconds == long.seconds and short.verdict == long.verdict == "success"
    assert len(long.states) - len(short.states) == pytest.approx(80, abs=10)


@pytest.mark.parametrize("delay_ms", [0, 100, 250])
def test_a_policy_observes_as_often_as_its_pace_allows(delay_ms: int) -> None:
    seen: list[SimObservation] = []

    def think(moment: SimObservation) -> np.ndarray:
        seen.append(moment)
        return np.tile(moment.state, (HORIZON, 1))

    play(episode_from_seed(1), think, HORIZON, Pace(delay_ns=delay_ms * 1_000_000), time_limit_s=2.0)
    apart_s = np.diff([moment.seconds for moment in seen])
    np.testing.assert_allclose(apart_s, max(200, delay_ms) / 1e3, atol=0.011)
    assert all(moment.scene.shape == (SCENE_SIZE,) and moment.scene[0] == 1 for moment in seen)


@pytest.mark.parametrize("acts", [2, 4])
def test_later_acts_of_a_look_start_from_newer_states_and_its_images(acts: int) -> None:
    moments: list[SimObservation] = []

    def think(moment: SimObservation) -> np.ndarray:
        moments.append(moment)
        targets = np.tile(moment.state, (HORIZON, 1))
        targets[:, 0] += 0.002 * np.arange(1, HORIZON + 1)
        return targets

    pace = Pace(replan_ns=200 * MS, delay_ns=200 * MS, acts_per_look=acts, act_delay_ns=10 * MS, chunking=RTC)
    outcome = play(episode_from_seed(1), think, HORIZON, pace, time_limit_s=2.0)
    looks = [list(group) for _, group in groupby(moments, key=lambda moment: id(moment.seen))]
    assert len(looks) == pytest.approx(10, abs=1) and all(len(look) == acts for look in looks[:-1])
    for look in looks[:-1]:
        (first, *later), seen = look, look[0].seen
        assert seen is not None and first.state is seen.state and first.seconds == seen.seconds
        assert first.delay_ns == 210 * MS and all(moment.delay_ns == 20 * MS for moment in later)
        assert all(moment.scene is seen.scene and moment.state is not seen.state for moment in later)
        ages_ms = [1e3 * (moment.seconds - seen.seconds) for moment in later]
        np.testing.assert_allclose(ages_ms, [190 + 200 * i / acts for i in range(1, acts)], atol=11)
    assert moments[acts].previous is not None and moments[acts].previous.request == acts - 1
    ages_ns = {chunk.image_age_ns for chunk, _ in outcome.played}
    assert 0 in ages_ns and len(outcome.played) >= acts * (len(looks) - 2)


@pytest.mark.parametrize("acts", [2, 5])
def test_the_expert_succeeds_however_often_it_acts(acts: int) -> None:
    pace = replace(DELAYED, acts_per_look=acts, act_delay_ns=5 * MS)
    outcomes = [played(episode_from_seed(seed), pace) for seed in FRESH[:5]]
    assert [o.verdict for o in outcomes] == ["success"] * 5
    np.testing.assert_array_equal(outcomes[0].commands, played(episode_from_seed(FRESH[0]), pace).commands)
