"""`vpp-edge sweep`: students, bundles and results in a folder; it goes on where it ended; wrong use is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vpp_edge.cli.main import main

QUICK = ["--observations", "6", "--held-out-samples", "2", "--head-training-steps", "3", "--steps", "2", "--batch", "2",
         "--quiet"]  # fmt: skip


@pytest.fixture
def command(small_checkpoint: Path, robot_recordings: Path, tmp_path: Path) -> list[str]:
    return ["sweep", str(small_checkpoint), "--data", str(robot_recordings), "-o", str(tmp_path / "sweep"), *QUICK]


@pytest.mark.slow
def test_a_sweep_measures_every_bundle_and_grows(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, axes = tmp_path / "sweep", ["--frames", "8", "--precision", "fp32", "--inferences", "2"]
    assert main([*command, *axes, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    points = {point["name"]: point for point in found["points"]}
    assert list(points) == ["teacher-fp32", "frames8-steps2-fp32"]
    teacher, student = points.values()
    assert teacher["action_rms"] < 1e-3 < student["action_rms"] and student["token_error"] > 0
    assert student["operations"] < teacher["operations"] and student["latency_ms"] > 0 and student["speedup"] > 0
    assert (folder / "students" / "frames8-steps2" / "policy.safetensors").is_file()
    assert (folder / "index.html").is_file()

    assert main([*command, *axes, "--json"]) == 2 and "with --resume" in capsys.readouterr().err
    kept = {path: path.stat().st_mtime_ns for path in [*folder.rglob("policy.safetensors"), *folder.rglob("video.pt")]}
    more = ["--head-steps", "1,2", "--resume", "--processes", "1", "--worker-threads", "2", "--json"]
    assert main([*command, *axes, *more]) == 0
    grown = {point["name"]: point for point in json.loads(capsys.readouterr().out)["points"]}
    assert set(grown) == {*points, "frames8-steps1-fp32"} and all(grown[name] == points[name] for name in points)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept

    assert main([*command, *axes, "--resume", "--seed", "1"]) == 2
    assert "begun with other settings (--seed was 0, is 1)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_sweep_ends_as_one_that_was_not(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = ["--frames", "8", "--inferences", "0", "--json"]
    assert main([*command, *axes]) == 0
    whole = json.loads(capsys.readouterr().out)["points"]
    shutil.rmtree(tmp_path / "sweep")
    with monkeypatch.context() as patch:
        patch.setattr(
            "vpp_edge.workflow.sweep.making.export_lowered", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert main([*command, *axes]) == 130
    capsys.readouterr()
    assert main([*command, *axes, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "3"], "3 frames are no divisor of the teacher's 16"),
        (["--frames", "8,x"], "x: expected a whole number from 1 to 1024"),
        (["--tap", "3"], "extract_layer_idx 3 is beyond the teacher's"),
        (["--precision", "fp8"], "'fp8': expected some of fp32, fp16, int8"),
        (["--acts-per-look", "2"], "play some with --world"),
        (["--episodes", "5"], "--episodes is for episodes; choose a world with --world"),
        (["--resume"], "there is no sweep in"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_made(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([*command, *options]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "sweep").exists()


def test_recordings_and_folder_are_asked_for(small_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(small_checkpoint), "--frames", "8"]) == 2
    assert "--data is missing: sweep needs recordings and a folder for the results" in capsys.readouterr().err
