"""`vpp-edge chaos` on live runs of a scripted policy: faults that pass, one that fails, and the output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpp_edge.cli.main import main
from vpp_edge.runtime.chaos.catalogue import FAULTS

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("simulated_cameras")]
POLICY = "latency_ms=30"


def chaos(capsys: pytest.CaptureFixture[str], policy: str, *options: str) -> tuple[int, dict, str]:
    status = main(["chaos", policy, "--backend", "scripted", "--json", *options])
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert "error" not in answer, captured.err
    return status, answer, captured.err


@pytest.mark.slow
def test_faults_pass_within_their_bounds_and_are_written_to_a_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "chaos.html"
    options = [option for number in (2, 9, 12, 14, 26) for option in ("--fault", str(number))]
    status, report, lines = chaos(capsys, POLICY, *options, "--html", str(page))
    rows = {row["id"]: row for row in report["faults"]}
    assert {number: row["status"] for number, row in rows.items()} == {
        2: "passed",
        9: "passed",
        12: "passed",
        14: "passed",
        26: "passed",
    }, lines
    assert status == 0 and report["failed"] == []
    assert rows[14]["measured"] <= rows[14]["bound_ms"] == 30 and rows[9]["measured"] <= 100
    text = page.read_text()
    assert all(row["fault"] in text for row in rows.values()) and "5 passed, 0 failed, 0 need hardware" in text


def test_servos_stop_by_themselves_when_the_control_process_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dynamixel_sdk")
    status, report, lines = chaos(capsys, POLICY, "--fault", "15", "--fault", "16")
    killed, silent = report["faults"]
    assert status == 0 and 0 < killed["measured"] <= 100 and silent["measured"] <= 50, lines


def test_a_run_that_cannot_survive_fails(capsys: pytest.CaptureFixture[str]) -> None:
    status, report, lines = chaos(capsys, "latency_ms=30,nan_every=1", "--fault", "1")
    (row,) = report["faults"]
    assert status == 1 and report["failed"] == [1] and row["status"] == "failed"
    assert "ended before anything was injected: fault: the policy gave 3 unusable chunks" in row["seen"] + lines


@pytest.mark.slow
def test_a_storm_of_faults_never_breaks_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    status, report, _ = chaos(capsys, POLICY, "--storm", "8", "--seed", "5")
    assert status == 0 and report["passed"] and report["share"] <= 1.0001 and report["not_held"] == 0, report
    assert report["commands"] > 300 and sum(report["faults"].values()) >= 4


def test_the_list_names_every_fault_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, report, _ = chaos(capsys, POLICY, "--list")
    assert status == 0 and [row["id"] for row in report["faults"]] == list(range(1, 29)) == [f.number for f in FAULTS]


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chaos", POLICY, "--backend", "scripted", "--fault", "99"]) == 2
    assert "--fault 99: expected a whole number from 1 to 28" in capsys.readouterr().err
