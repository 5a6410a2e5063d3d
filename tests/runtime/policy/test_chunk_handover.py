"""Each way of following one chunk by another does what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from vpp_edge.cli.main import build_parser
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.chunk_player import Chunk, chunk_fault
from vpp_edge.runtime.control.contract import MOVING, Stand
from vpp_edge.runtime.policy.chunk_handover import Chunking
from vpp_edge.runtime.policy.handover_modes import ENSEMBLE, MODES, NAIVE, RTC, SYNCHRONOUS

PERIOD_NS = 100_000_000
POSE = np.array([0.0, 0, 0, 0, 0, 0, 1, 0.0])


def chunk(value: float, request: int, episode: int = 1, observed_ns: int | None = None, horizon: int = 4) -> Chunk:
    targets = np.tile(POSE, (horizon, 1))
    targets[:, 7] = value
    anchor = POSE.copy()
    anchor[7] = value
    return Chunk(targets, anchor, request * PERIOD_NS if observed_ns is None else observed_ns, request, episode)


def stand(request: int, playing: int, playing_from_ns: int = 0, episode: int = 1, resting_ns: int = MOVING) -> Stand:
    return Stand(episode, request, resting_ns, playing, playing_from_ns)


def test_an_unknown_way_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="rtc, naive, ensemble, synchronous"):
        Chunking("smooth", PERIOD_NS)


@pytest.mark.parametrize("command", [["run", "b", "--instruction", "x"], ["eval", "b"]])
def test_commands_offer_every_way(command: list[str]) -> None:
    for mode in MODES:
        assert build_parser({command[0]}).parse_args([*command, "--chunking", mode]).chunking == mode


@pytest.mark.parametrize("mode", [RTC, NAIVE, SYNCHRONOUS])
def test_targets_are_played_as_they_are(mode: str) -> None:
    chunking, first, second = Chunking(mode, PERIOD_NS), chunk(0.1, 0), chunk(0.5, 1)
    assert chunking.next_chunk(first, stand(-1, -1)) is first
    assert chunking.next_chunk(second, stand(0, 0)) is second


class TestPlan:
    def test_is_what_the_loop_plays_at_the_time_it_plays_it(self) -> None:
        chunking = Chunking(RTC, PERIOD_NS)
        chunking.next_chunk(chunk(0.1, 0), stand(-1, -1))
        plan = chunking.plan(stand(0, 0, playing_from_ns=123))
        assert plan is not None and plan.request == 0 and plan.observed_ns == 123

    def test_is_a_chunk_that_the_loop_has_not_judged_yet(self) -> None:
        chunking = Chunking(RTC, PERIOD_NS)
        for request in (0, 1):
            chunking.next_chunk(chunk(0.1, request), stand(request - 1, request - 1))
        plan = chunking.plan(stand(0, 0))
        assert plan is not None and plan.request == 1

    def test_is_an_earlier_chunk_when_the_last_one_was_refused(self) -> None:
        chunking = Chunking(RTC, PERIOD_NS)
        for request in (0, 1):
            chunking.next_chunk(chunk(0.1, request), stand(request - 1, 0))
        plan = chunking.plan(stand(1, 0))
        assert plan is not None and plan.request == 0

    def test_is_none_while_nothing_is_played(self) -> None:
        chunking = Chunking(RTC, PERIOD_NS)
        assert chunking.plan(stand(-1, -1)) is None
        chunking.next_chunk(chunk(0.1, 0), stand(-1, -1))
        assert chunking.plan(stand(0, -1)) is None

    def test_never_comes_from_another_episode(self) -> None:
        chunking = Chunking(RTC, PERIOD_NS)
        chunking.next_chunk(chunk(0.1, 0, episode=1), stand(-1, -1))
        assert chunking.plan(stand(-1, -1, episode=2)) is None
        assert chunking.plan(stand(0, 0, episode=2)) is None

    def test_is_none_for_other_ways(self) -> None:
        for mode in (NAIVE, ENSEMBLE, SYNCHRONOUS):
            chunking = Chunking(mode, PERIOD_NS)
            chunking.next_chunk(chunk(0.1, 0), stand(-1, -1))
            assert chunking.plan(stand(0, 0)) is None


class TestEnsemble:
    def test_averages_what_chunks_want_for_the_same_moment(self) -> None:
        chunking = Chunking(ENSEMBLE, PERIOD_NS)
        chunking.next_chunk(chunk(0.1, 0), stand(-1, -1))
        found = chunking.next_chunk(chunk(0.5, 1), stand(0, 0)).targets[:, 7]
        oldest, newest = np.exp(0), np.exp(-0.01)
        mean = (0.1 * oldest + 0.5 * newest) / (oldest + newest)
        np.testing.assert_allclose(found, [mean, mean, mean, 0.5])  # the first chunk ends one period before

    def test_turns_of_either_sign_are_the_same_turn(self) -> None:
        chunking = Chunking(ENSEMBLE, PERIOD_NS)
        flipped = chunk(0.1, 0)
        flipped.targets[:, 3:7] *= -1
        flipped.anchor[3:7] *= -1
        chunking.next_chunk(flipped, stand(-1, -1))
        found = chunking.next_chunk(chunk(0.1, 1), stand(0, 0))
        np.testing.assert_allclose(found.targets[:, 3:7], np.tile(POSE[3:7], (4, 1)), atol=1e-12)
        assert chunk_fault(found, 4, 8) is None

    @pytest.mark.parametrize("now", [stand(0, 0, episode=2), stand(0, -1, resting_ns=0)])
    def test_forgets_what_came_before_an_episode_or_a_rest(self, now: Stand) -> None:
        chunking = Chunking(ENSEMBLE, PERIOD_NS)
        chunking.next_chunk(chunk(0.1, 0), stand(-1, -1))
        found = chunking.next_chunk(chunk(0.5, 1, episode=now.episode), now)
        np.testing.assert_array_equal(found.targets[:, 7], 0.5)

    def test_leaves_a_broken_chunk_to_the_loop(self) -> None:
        chunking = Chunking(ENSEMBLE, PERIOD_NS)
        chunking.next_chunk(chunk(0.1, 0), stand(-1, -1))
        broken = chunk(np.nan, 1)
        assert chunking.next_chunk(broken, stand(0, 0)) is broken
        found = chunking.next_chunk(chunk(0.1, 2), stand(1, 0))
        assert np.isfinite(found.targets).all()


def test_a_synchronous_loop_looks_when_the_hand_rests() -> None:
    assert not Chunking(SYNCHRONOUS, PERIOD_NS).may_observe(stand(0, 0), 5)
    assert Chunking(SYNCHRONOUS, PERIOD_NS).may_observe(stand(0, -1, resting_ns=4), 5)
    assert Chunking(RTC, PERIOD_NS).may_observe(stand(0, 0), 5)
