"""Evaluations: independent of the number of processes, on worlds not used in training, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.executor.processes import Processes
from vpp_edge.runtime.sim.lockstep import STOPPED, TargetFunction
from vpp_edge.runtime.sim.task import Episode
from vpp_edge.workflow.closed_loop.evaluation import EpisodeResult, EvalSettings, evaluate, open_play, play_episode
from vpp_edge.workflow.closed_loop.players import EXPERT, RANDOM, PlayerChoice
from vpp_edge.workflow.closed_loop.summary import SUCCESS, TIMEOUT, WRONG, summary_of


def assert_same(found: Sequence[EpisodeResult], expected: Sequence[EpisodeResult]) -> None:
    """Everything except the durations of the inferences."""
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.jerks, b.jerks)
        np.testing.assert_array_equal(a.seams, b.seams)
        assert len(a.inference_ns) == len(b.inference_ns)
        assert replace(a, jerks=b.jerks, seams=b.seams, inference_ns=b.inference_ns) == b


def test_the_expert_presses_every_button_and_smoothly() -> None:
    settings = EvalSettings(episodes=12, seed=5)
    results = evaluate(PlayerChoice(EXPERT), settings, Processes(2))
    assert [r.seed for r in results] == [50_000 + i for i in range(12)]
    summary = summary_of(results)
    assert summary.rate.share == 1 and summary.press_s is not None and summary.press_s[0] < 2.5
    assert summary.seams > 50 and summary.seam_wrist_m.p95 is not None and summary.seam_wrist_m.p95 < 0.015


def test_random_motion_hardly_ever_succeeds() -> None:
    summary = summary_of(evaluate(PlayerChoice(RANDOM), EvalSettings(episodes=12), Processes(2)))
    assert summary.rate.share < 0.2
    assert sum(summary.verdicts.values()) == 12


@pytest.mark.parametrize("policy", [EXPERT, RANDOM])
def test_results_do_not_depend_on_the_number_of_processes(policy: str) -> None:
    settings, choice = EvalSettings(episodes=5, seed=2, delay_ns=70_000_000, time_limit_s=1.5), PlayerChoice(policy)
    work = open_play(choice, settings)
    alone = [work(number) for number in range(settings.episodes)]
    for processes in (1, 3):
        assert_same(evaluate(choice, settings, Processes(processes)), alone)


def test_an_exported_policy_plays(small_bundle: Path) -> None:
    """Untrained, it presses nothing; one process or two give the same, because the noise belongs to the episode."""
    settings, choice = EvalSettings(episodes=2, time_limit_s=0.5), PlayerChoice(str(small_bundle))
    seen: list[tuple[str, float]] = []
    results = evaluate(choice, settings, Processes(2), lambda stage, fraction: seen.append((stage, fraction)))
    assert_same(evaluate(choice, settings, Processes(1)), results)
    assert [r.verdict for r in results] == [TIMEOUT, TIMEOUT]
    assert [len(r.inference_ns) for r in results] == [3, 3]  # at 0, 0.2 and 0.4 s
    assert seen == [("load", 0), ("play", 0.5), ("play", 1.0)]


def test_a_delay_makes_fewer_inferences_than_requested(small_bundle: Path) -> None:
    settings = EvalSettings(episodes=1, time_limit_s=0.7, replan_ns=100_000_000, delay_ns=300_000_000)
    (result,) = evaluate(PlayerChoice(str(small_bundle)), settings, Processes(1))
    assert len(result.inference_ns) == 3  # the next observation waits for the chunk of the one before


class BrokenPlayer:
    """A player whose targets are NaN."""

    horizon, period_ns = 8, 100_000_000

    def __init__(self) -> None:
        self.inference_ns: list[int] = []

    def enter(self, episode: Episode, noise: tuple[int, int]) -> TargetFunction:
        return lambda moment: np.full((self.horizon, len(moment.state)), np.nan)


def test_a_policy_that_gives_no_numbers_is_stopped_and_its_reason_counted() -> None:
    results = [play_episode(BrokenPlayer(), EvalSettings(seed=2), i) for i in (1, 2)]
    assert results[0].verdict == STOPPED and "unusable chunks in a row: NaN or Inf" in results[0].stopped
    summary = summary_of(results)
    assert summary.verdicts == {SUCCESS: 0, WRONG: 0, TIMEOUT: 0, STOPPED: 2}
    assert summary.stop_reasons == {"the policy gave 3 unusable chunks in a row": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes 0"),
        ({"episodes": 10_001}, "expected a whole number from 1 to 10000"),
        ({"seed": 1000}, "other worlds are for training"),
        ({"seed": -1}, "seed -1"),
        ({"delay_ns": -1}, "delay_ms -1e-06"),
        ({"replan_ns": 0}, "replan_ms 0.0: expected a number above 0"),
        ({"time_limit_s": float("nan")}, "time_limit_s nan"),
        ({"world": "moon"}, "unknown world 'moon'"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        EvalSettings(**changes)


def test_the_last_world_is_below_those_of_training() -> None:
    work = open_play(PlayerChoice(EXPERT), EvalSettings(episodes=10_000, seed=999))
    assert work(9_999).seed == 9_999_999


def result(verdict: str, colour: str, seconds: float) -> EpisodeResult:
    return EpisodeResult(
        seed=0,
        colour=colour,
        verdict=verdict,
        pressed=(),
        seconds=seconds,
        jerks=np.full((4, 2), seconds),
        seams=np.zeros((0, 3)),
        inference_ns=(),
    )


def test_a_summary_counts_verdicts_by_colour_and_times_successes_only() -> None:
    episodes = ((SUCCESS, "red", 1.0), (SUCCESS, "blue", 3.0), (WRONG, "red", 9.0), (TIMEOUT, "red", 8.0))
    summary = summary_of([result(*episode) for episode in episodes])
    assert summary.verdicts == {SUCCESS: 2, WRONG: 1, TIMEOUT: 1, STOPPED: 0}
    assert summary.by_colour["red"] == {SUCCESS: 1, WRONG: 1, TIMEOUT: 1, STOPPED: 0}
    assert summary.press_s == pytest.approx((2.0, 2.8))
    assert summary.wrist_jerk_m_s3.mean == pytest.approx(21 / 4)
    assert summary.seams == 0 and summary.seam_wrist_m.mean is None
    assert summary.inferences == 0 and summary.inference_ms is None
    assert summary_of([result(WRONG, "red", 1.0)]).press_s is None
