"""Each mode of handing over from one chunk to the next does what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from vpp_edge.cli.main import build_parser
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.chunk_player import chunk_fault
from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.ipc.loop_state import MOVING, LoopState
from vpp_edge.runtime.policy.chunk_handover import ENSEMBLE, MODES, NAIVE, RTC, SYNCHRONOUS, ChunkHandover

PERIOD_NS = 100_000_000
POSE = np.array([0.0, 0, 0, 0, 0, 0, 1, 0.0])


def chunk(value: float, request: int, episode: int = 1, observed_ns: int | None = None, horizon: int = 4) -> Chunk:
    targets = np.tile(POSE, (horizon, 1))
    targets[:, 7] = value
    anchor = POSE.copy()
    anchor[7] = value
    return Chunk(targets, anchor, request * PERIOD_NS if observed_ns is None else observed_ns, request, episode)


def loop_state(
    request: int, playing: int, playing_from_ns: int = 0, episode: int = 1, resting_ns: int = MOVING
) -> LoopState:
    return LoopState(episode, request, resting_ns, playing, playing_from_ns)


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="rtc, naive, ensemble, synchronous"):
        ChunkHandover("smooth", PERIOD_NS)


@pytest.mark.parametrize("command", [["run", "b", "--instruction", "x"], ["eval", "b"]])
def test_commands_offer_every_mode(command: list[str]) -> None:
    for mode in MODES:
        assert build_parser({command[0]}).parse_args([*command, "--chunking", mode]).chunking == mode


@pytest.mark.parametrize("mode", [RTC, NAIVE, SYNCHRONOUS])
def test_targets_are_played_as_they_are(mode: str) -> None:
    handover, first, second = ChunkHandover(mode, PERIOD_NS), chunk(0.1, 0), chunk(0.5, 1)
    assert handover.chunk_to_play(first, loop_state(-1, -1)) is first
    assert handover.chunk_to_play(second, loop_state(0, 0)) is second


class TestChunkToContinue:
    def test_is_what_the_loop_plays_at_the_time_it_plays_it(self) -> None:
        handover = ChunkHandover(RTC, PERIOD_NS)
        handover.chunk_to_play(chunk(0.1, 0), loop_state(-1, -1))
        previous = handover.chunk_to_continue(loop_state(0, 0, playing_from_ns=123))
        assert previous is not None and previous.request == 0 and previous.observed_ns == 123

    def test_is_a_chunk_that_the_loop_has_not_judged_yet(self) -> None:
        handover = ChunkHandover(RTC, PERIOD_NS)
        for request in (0, 1):
            handover.chunk_to_play(chunk(0.1, request), loop_state(request - 1, request - 1))
        previous = handover.chunk_to_continue(loop_state(0, 0))
        assert previous is not None and previous.request == 1

    def test_is_an_earlier_chunk_when_the_last_one_was_refused(self) -> None:
        handover = ChunkHandover(RTC, PERIOD_NS)
        for request in (0, 1):
            handover.chunk_to_play(chunk(0.1, request), loop_state(request - 1, 0))
        previous = handover.chunk_to_continue(loop_state(1, 0))
        assert previous is not None and previous.request == 0

    def test_is_none_while_nothing_is_played(self) -> None:
        handover = ChunkHandover(RTC, PERIOD_NS)
        assert handover.chunk_to_continue(loop_state(-1, -1)) is None
        handover.chunk_to_play(chunk(0.1, 0), loop_state(-1, -1))
        assert handover.chunk_to_continue(loop_state(0, -1)) is None

    def test_never_comes_from_another_episode(self) -> None:
        handover = ChunkHandover(RTC, PERIOD_NS)
        handover.chunk_to_play(chunk(0.1, 0, episode=1), loop_state(-1, -1))
        assert handover.chunk_to_continue(loop_state(-1, -1, episode=2)) is None
        assert handover.chunk_to_continue(loop_state(0, 0, episode=2)) is None

    def test_is_none_for_other_modes(self) -> None:
        for mode in (NAIVE, ENSEMBLE, SYNCHRONOUS):
            handover = ChunkHandover(mode, PERIOD_NS)
            handover.chunk_to_play(chunk(0.1, 0), loop_state(-1, -1))
            assert handover.chunk_to_continue(loop_state(0, 0)) is None


class TestEnsemble:
    def test_averages_what_chunks_want_for_the_same_moment(self) -> None:
        handover = ChunkHandover(ENSEMBLE, PERIOD_NS)
        handover.chunk_to_play(chunk(0.1, 0), loop_state(-1, -1))
        found = handover.chunk_to_play(chunk(0.5, 1), loop_state(0, 0)).targets[:, 7]
        oldest, newest = np.exp(0), np.exp(-0.01)
        mean = (0.1 * oldest + 0.5 * newest) / (oldest + newest)
        np.testing.assert_allclose(found, [mean, mean, mean, 0.5])  # the first chunk ends one period before

    def test_turns_of_either_sign_are_the_same_turn(self) -> None:
        handover = ChunkHandover(ENSEMBLE, PERIOD_NS)
        flipped = chunk(0.1, 0)
        flipped.targets[:, 3:7] *= -1
        flipped.anchor[3:7] *= -1
        handover.chunk_to_play(flipped, loop_state(-1, -1))
        found = handover.chunk_to_play(chunk(0.1, 1), loop_state(0, 0))
        np.testing.assert_allclose(found.targets[:, 3:7], np.tile(POSE[3:7], (4, 1)), atol=1e-12)
        assert chunk_fault(found, 4, 8) is None

    @pytest.mark.parametrize("now", [loop_state(0, 0, episode=2), loop_state(0, -1, resting_ns=0)])
    def test_forgets_what_came_before_an_episode_or_a_rest(self, now: LoopState) -> None:
        handover = ChunkHandover(ENSEMBLE, PERIOD_NS)
        handover.chunk_to_play(chunk(0.1, 0), loop_state(-1, -1))
        found = handover.chunk_to_play(chunk(0.5, 1, episode=now.episode), now)
        np.testing.assert_array_equal(found.targets[:, 7], 0.5)

    def test_leaves_a_broken_chunk_to_the_loop(self) -> None:
        handover = ChunkHandover(ENSEMBLE, PERIOD_NS)
        handover.chunk_to_play(chunk(0.1, 0), loop_state(-1, -1))
        broken = chunk(np.nan, 1)
        assert handover.chunk_to_play(broken, loop_state(0, 0)) is broken
        found = handover.chunk_to_play(chunk(0.1, 2), loop_state(1, 0))
        assert np.isfinite(found.targets).all()


def test_a_synchronous_loop_looks_when_the_hand_rests() -> None:
    assert not ChunkHandover(SYNCHRONOUS, PERIOD_NS).may_observe(loop_state(0, 0), 5)
    assert ChunkHandover(SYNCHRONOUS, PERIOD_NS).may_observe(loop_state(0, -1, resting_ns=4), 5)
    assert ChunkHandover(RTC, PERIOD_NS).may_observe(loop_state(0, 0), 5)
