"""`vpp-edge eval`: report, JSON, exit status, and options that do not fit the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vpp_edge.cli.main import main
from vpp_edge.demo import bundle as demo_policy
from vpp_edge.demo.bundle import DemoOptions

FACTS = {
    "policy", "bundle", "backend", "precision", "steps", "solver", "frames", "seed", "first_world", "delay_ms",
    "replan_ms", "time_limit_s", "chunking", "acts_per_look", "act_delay_ms", "world",
}  # fmt: skip
FOUND = {
    "success", "ci95", "successes", "episodes", "passed", "wrong", "timeouts", "by_colour",
    "stopped", "stop_reasons", "press_s", "jerk", "seam",
    "inferences", "inference_ms", "outcomes",
}  # fmt: skip


def test_the_expert_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "expert", "--episodes", "4", "--seed", "7", "--delay-ms", "50", "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert set(found) == FACTS | FOUND and captured.err == ""
    assert (found["success"], found["episodes"], found["wrong"], found["timeouts"]) == (1.0, 4, 0, 0)
    assert found["ci95"] == [pytest.approx(0.5101, abs=1e-4), 1.0]
    assert (found["seed"], found["delay_ms"], found["replan_ms"], found["precision"]) == (7, 50, 200, None)
    assert found["chunking"] == "naive"
    assert [o["seed"] for o in found["outcomes"]] == [70_000, 70_001, 70_002, 70_003]
    assert all(o["verdict"] == "success" and o["pressed"] == [o["colour"]] for o in found["outcomes"])
    assert found["jerk"]["wrist_m_s3"]["p95"] > 0 and found["seam"]["count"] > 0


def test_several_acts_per_look_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--acts-per-look", "3", "--delay-ms", "150", "--act-delay-ms", "5", "--episodes", "2", "--quiet"]
    assert main(["eval", "expert", *words]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("naive chunks, 3 per observation, the later ones 5 ms after their state")


def test_a_world_has_its_own_time_limit_and_needs_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    for policy, share in (("expert", 1.0), ("chaser", 0.0)):
        words = ["eval", policy, "--world", "turntable", "--episodes", "3", "--delay-ms", "200", "--json", "--quiet"]
        assert main(words) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["world"], found["time_limit_s"], found["success"]) == ("turntable", 2.5, share)


def test_a_bundle_for_people(small_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", str(small_bundle), "--episodes", "2", "--time-limit", "0.4", "--processes", "1", "--quiet"]
    assert main([*words, "--require", "0.5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "(fp32, 3 ddim steps, 16 frames, onnxruntime): 2 episodes of buttons, seed 0" in lines[0]
    assert lines[0].endswith("rtc chunks")
    assert "0.0 % (0.0 to 65.8 %), 95 % interval" in lines[1]
    assert "out of time     2 (after 0.4 s)" in "\n".join(lines)
    assert lines[-1] == "FAILED: fewer than the 50 % that --require asks for"


def test_a_share_that_is_reached_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "expert", "--episodes", "2", "--require", "1", "--quiet"]) == 0
    assert "FAILED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["expert", "--precision", "int8"], "--precision cannot be chosen for 'expert'"),
        (["random", "--backend", "torch"], "--backend cannot be chosen for 'random'"),
        (["BUNDLE", "--steps", "4", "--frames", "8"], "--steps, --frames cannot be chosen"),
        (["BUNDLE", "--checkpoint", "x"], "--checkpoint is for --backend torch"),
        (["BUNDLE", "--backend", "abacus"], "abacus"),
        (["random", "--provider", "cuda"], "--provider cannot be chosen for 'random'"),
        (["BUNDLE", "--provider", "abacus"], "abacus"),
        (["BUNDLE", "--provider", "cuda", "--backend", "torch"], "leave one of them out"),
        (["no-such-folder"], "no such bundle folder"),
        (["expert", "--chunking", "rtc"], "'expert' has none"),
        (["expert", "--require", "90"], "--require 90: expected a number from 0 to 1"),
        (["expert", "--ray", "nowhere"], "--ray nowhere: expected HOST:PORT of the cluster's head, or auto"),
        (["expert", "--ray", "auto", "--processes", "2"], "--processes: not allowed with argument --ray"),
        (["expert", "--processes", "0"], "--processes 0: expected a whole number from 1"),
        (["expert", "--delay-ms", "nan"], "--delay-ms nan"),
        (["demo", "--frames", "5", "--checkpoint", "x"], "--checkpoint is for --backend torch"),
        (["demo", "--precision", "int8", "--backend", "torch"], "runs the checkpoint in fp32"),
        (["chaser", "--steps", "4"], "--steps cannot be chosen for 'chaser'"),
        (["expert", "--world", "moon"], "buttons"),
        (["expert", "--seed", "1000"], "other worlds are for training"),
        (["expert", "--acts-per-look", "0"], "--acts-per-look 0: expected a whole number from 1 to 16"),
        (["expert", "--acts-per-look", "2", "--chunking", "synchronous"], "it plays every chunk to its end"),
        (["expert", "--act-delay-ms", "5"], "--act-delay-ms is for --acts-per-look 2 or more"),
        (["expert", "--acts-per-look", "2", "--act-delay-ms", "5"], "act_delay_ms 5 is part of delay_ms"),
    ],
)
def test_what_does_not_fit_is_refused(
    words: list[str], message: str, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(small_bundle) if word == "BUNDLE" else word for word in words]
    assert main(["eval", *words, "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_the_demo_policy_is_exported_with_the_options(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def demo_bundle(folder: Path, options: DemoOptions, **rest: Any) -> Path:
        asked.append((folder, options, rest["fresh"]))
        return small_bundle

    monkeypatch.setattr(demo_policy, "demo_bundle", demo_bundle)
    words = ["demo", "--precision", "int8", "--steps", "3", "-o", str(tmp_path), "--time-limit", "0.1"]
    assert main(["eval", *words, "--episodes", "1", "--quiet", "--json"]) == 0
    assert asked == [(tmp_path, DemoOptions("int8", 3), False)]
    found = json.loads(capsys.readouterr().out)
    assert (found["policy"], found["bundle"], found["steps"]) == ("demo", str(small_bundle), 3)
