"""How long trials wait: the windows that follow from a policy's pace, and how that pace is measured."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from vpp_edge.runtime.chaos import pace as pace_module
from vpp_edge.runtime.chaos.pace import LONGEST_ANSWER_S, MAX_START_S, MEASURED, Pace, _Answers
from vpp_edge.runtime.ipc.loop_state import Phase

QUICK = Pace(answer_s=0.05, interval_s=0.05, chunk_s=0.8, load_s=1.0)
SLOW = Pace(answer_s=1.5, interval_s=2.4, chunk_s=0.8, load_s=20.0)


@pytest.mark.parametrize("pace", [QUICK, SLOW])
def test_patience_is_at_least_twice_what_the_answers_take(pace: Pace) -> None:
    for answers in range(1, 10):
        assert pace.patience_s(answers) >= 2 * answers * pace.interval_s + 2
        assert pace.patience_s(answers, loads=1) >= pace.patience_s(answers) + 2 * pace.load_s
        assert pace.patience_s(answers + 1) > pace.patience_s(answers)


def test_a_quick_policy_is_not_waited_for_as_long_as_a_slow_one() -> None:
    assert QUICK.patience_s(3) < 8 < 20 < SLOW.patience_s(3)


def test_watching_takes_what_was_asked_and_at_least_one_more_inference() -> None:
    assert QUICK.watch_s(1.5) == 1.5
    assert SLOW.watch_s(1.5) > SLOW.interval_s


def test_what_was_observed_before_a_fault_moves_the_hand_for_an_inference_and_a_chunk() -> None:
    assert SLOW.committed_s == pytest.approx(2.3)


@pytest.mark.parametrize("pace", [QUICK, SLOW, Pace(load_s=500.0)])
def test_the_first_answer_is_waited_for_longer_than_an_inference_may_take(pace: Pace) -> None:
    assert LONGEST_ANSWER_S < pace.start_s <= MAX_START_S


def test_the_line_says_why_the_hand_pauses() -> None:
    assert "the hand moves with pauses" in SLOW.line() and "pauses" not in QUICK.line()
    assert "answers within 1.50 s, at least every 2.40 s; a chunk lasts 0.80 s" in SLOW.line()


class Machine:
    """A run on a clock of its own, as a poll sees it: a loop that moves from the first answer on, and a policy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.stopped = 100.0, ""
        self.board = {"inferences": 0, "phase": Phase.OPENING}
        monkeypatch.setattr(pace_module.time, "monotonic_ns", lambda: round(self.now_s * 1e9))

    def polls(self, answers: _Answers, seconds: float) -> Iterator[None]:
        """Polls 20 times a second until the run is stopped or the time is over."""
        loop: Any = SimpleNamespace(chunk_s=0.8, request_stop=self.stop)
        channels: Any = SimpleNamespace(policy=self.board)
        for _ in range(round(seconds * 20)):
            if self.stopped:
                return
            self.now_s += 0.05
            yield
            loop.moving = self.board["inferences"] > 0
            answers.poll(loop, channels)

    def stop(self, reason: str) -> None:
        self.stopped = reason


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("interval_s", [0.05, 0.5, 2.4])
def test_a_few_answers_are_enough(machine: Machine, interval_s: float) -> None:
    answers, begun_s = _Answers(), machine.now_s
    machine.board["phase"] = Phase.WORKING
    for _ in machine.polls(answers, 100):
        machine.board["inferences"] = round((machine.now_s - begun_s) / interval_s)
    assert answers.complete and not answers.silent and machine.stopped == "the policy was measured"
    assert len(answers.times_ns) > MEASURED and machine.now_s - begun_s <= max(1.2, (MEASURED + 1) * interval_s + 0.1)


@pytest.mark.parametrize(
    ("given", "said"), [(0, "the policy gave no answer for"), (2, "gave 2 answers, then none for")]
)
def test_a_policy_that_is_busy_and_does_not_answer_is_silent(machine: Machine, given: int, said: str) -> None:
    answers = _Answers()
    machine.board.update(phase=Phase.WORKING, inferences=given)
    for _ in machine.polls(answers, 100):
        pass
    assert not answers.complete and said in answers.silent and "use a faster backend" in answers.silent
    assert machine.now_s == pytest.approx(100 + LONGEST_ANSWER_S, abs=0.2)


def test_a_policy_that_nobody_asks_is_not_to_blame(machine: Machine) -> None:
    answers = _Answers()
    machine.board["phase"] = Phase.RUNNING
    for _ in machine.polls(answers, 100):
        pass
    assert not answers.complete and not answers.silent and "no inference was going on" in machine.stopped


def test_loading_may_take_longer_than_an_inference(machine: Machine) -> None:
    answers = _Answers()
    for _ in machine.polls(answers, 3 * LONGEST_ANSWER_S):
        pass
    assert not machine.stopped
