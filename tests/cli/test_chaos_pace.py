"""`vpp-edge chaos` with slow policies and with one that never answers: right reactions pass, wrong ones still fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vpp_edge.cli.main import main
from vpp_edge.runtime.chaos.catalogue import FAULTS
from vpp_edge.runtime.control import loop
from vpp_edge.runtime.control.guards import RunawayGuard
from vpp_edge.runtime.ipc.counters import Verdict
from vpp_edge.runtime.session.supervisor import Supervisor

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.usefixtures("simulated_cameras")]
UNPACED = {fault.number for fault in FAULTS if not fault.paced}
ON_SERVOS = {15, 16, 17, 18, 19}  # which a busy machine disturbs, with their own policy


@pytest.fixture
def chaos(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[int, str], str]]:
    """Runs faults with a scripted policy: the exit status, the status of each fault, and the lines."""

    def run(policy: str, *numbers: int) -> tuple[int, dict[int, str], str]:
        words = [str(number) for number in numbers]
        status = main(["chaos", policy, "--backend", "scripted", "--json", "--fault", *words])
        captured = capsys.readouterr()
        return status, {row["id"]: row["status"] for row in json.loads(captured.out)["faults"]}, captured.err

    return run


@pytest.mark.parametrize(
    ("latency_ms", "numbers"),
    [(500, (8, 10, 11, 22)), (1500, (8, 26))],  # those that a fixed window failed; all: `vpp-edge chaos`
)
def test_a_slow_policy_is_waited_for(chaos: Any, latency_ms: int, numbers: tuple[int, ...]) -> None:
    status, rows, lines = chaos(f"latency_ms={latency_ms}", *numbers)
    assert rows.pop(11, "passed") in ("passed", "inconclusive"), (
        lines
    )  # its answers come with pauses, now and then or always
    assert status in (0, 3) and set(rows.values()) == {"passed"}, lines


def test_a_policy_that_never_answers_says_nothing_about_the_runtime(chaos: Any) -> None:
    numbers = [fault.number for fault in FAULTS if fault.number not in ON_SERVOS]
    status, rows, lines = chaos("latency_ms=50,hang_after=1", *numbers)
    passed = UNPACED - ON_SERVOS - {28}  # a scripted policy has no bundle to change
    assert status == 3, lines
    assert rows == {number: "passed" if number in passed else "inconclusive" for number in numbers}, lines
    assert "without any fault, the policy gave no answer for 40 s" in lines


def test_a_policy_that_stops_answering_in_the_middle_of_a_trial_is_to_blame_itself(chaos: Any) -> None:
    status, rows, lines = chaos("latency_ms=50,hang_after=14", 20, 22)
    assert rows[20] == "passed" and rows[22] == "inconclusive", lines
    assert set(rows.values()) == {"passed", "inconclusive"} and status == 3, lines


class TestAMisbehavingRuntime:
    """Fails with a slow policy too. The control loop and its supervisor run in this process."""

    POLICY = "latency_ms=500,period_ms=200"  # slow, but its chunks last longer, so the hand moves without pauses

    def test_that_executes_nan(self, chaos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loop, "chunk_fault", lambda chunk, horizon, dims: None)
        status, rows, lines = chaos(self.POLICY, 10)
        assert status == 1 and rows == {10: "failed"}, lines

    def test_that_never_stops_what_nobody_can_follow(self, chaos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(RunawayGuard, "check", lambda *words: None)
        status, rows, lines = chaos(self.POLICY, 11)
        assert status == 1 and rows == {11: "failed"}, lines

    def test_that_uses_no_chunk_after_a_late_one(self, chaos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        judge = loop.ControlLoop._judge

        def stuck(self: Any, chunk: Any, now_ns: int) -> tuple[Verdict, int]:
            if self.counts.used >= 2:
                self.counts.late += 1
                self.state.request = chunk.request
                return Verdict.LATE, 0
            return judge(self, chunk, now_ns)

        monkeypatch.setattr(loop.ControlLoop, "_judge", stuck)
        status, rows, lines = chaos(self.POLICY, 8)
        assert status == 1 and rows == {8: "failed"}, lines

    def test_that_executes_an_answer_from_an_earlier_episode(self, chaos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        judge = loop.ControlLoop._judge

        def trusting(self: Any, chunk: Any, now_ns: int) -> tuple[Verdict, int]:
            return judge(self, replace(chunk, episode=self.state.episode), now_ns)

        monkeypatch.setattr(loop.ControlLoop, "_judge", trusting)
        status, rows, lines = chaos(self.POLICY, 26)
        assert status == 1 and rows == {26: "failed"}, lines

    def test_that_does_not_notice_the_heat(self, chaos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Supervisor, "_check_throttling", lambda self, now_ns: "")
        status, rows, lines = chaos(self.POLICY, 22)
        assert status == 1 and rows == {22: "failed"}, lines
