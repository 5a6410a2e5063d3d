"""The demo: the whole path from bundle to hand in simulation, and what it leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.checkpoint.files import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
from vpp_edge.cli import demo
from vpp_edge.profile.picture import side_by_side

COMMAND = str(Path(sys.executable).with_name("vpp-edge"))


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", "-o", str(folder), *options], cwd=folder, capture_output=True, text=True, timeout=200
    )


@pytest.mark.timeout(900)
def test_demo_moves_the_hand_and_leaves_a_video(small_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")  # as an earlier demo would have left one
    done = run_demo(tmp_path, "--duration", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert "untrained" in done.stderr
    report = json.loads(done.stdout)
    assert report["trained"] is False
    assert report["control"]["held"] and not report["control"]["failed"]
    assert report["control"]["chunks"]["used"] > 0
    assert report["control"]["loop"]["ticks"] > 200
    assert len(report["cameras"]) == 2 and all(c["delivered"] > 0 for c in report["cameras"])
    assert {"perceive", "act"} <= report["policy"]["stages"].keys()
    frames = decoded(Path(report["video"]))
    assert len(frames) > 10
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 40, "nothing moved"


def decoded(path: Path) -> list[np.ndarray]:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_damaged_bundle_of_an_earlier_demo_is_not_used(small_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    assert demo._is_usable(tmp_path / "bundle")
    with (tmp_path / "bundle" / "onnx" / "act.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    assert not demo._is_usable(tmp_path / "bundle")


def test_demo_checkpoint_is_in_the_trained_format(tmp_path: Path) -> None:
    state_bounds, action_bounds = demo.demo_bounds()
    write_untrained_checkpoint(tmp_path, state_bounds=state_bounds, action_bounds=action_bounds)
    spec = read_checkpoint(paths_from_folder(tmp_path)).spec
    assert spec.variant == "xhand" and len(spec.cameras) == len(demo.VIEWS)
    assert spec.action.bounds is not None and spec.action.bounds.upper == tuple(action_bounds[1])
    assert spec.state is not None and spec.state.bounds is not None


def test_negative_duration_is_refused(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--duration", "-1")
    assert done.returncode == 2
    assert "--duration" in done.stderr


def test_side_by_side_keeps_every_pixel_and_even_sides() -> None:
    left, right = np.full((5, 7, 3), 200, np.uint8), np.full((3, 4, 3), 100, np.uint8)
    sheet = side_by_side([left, right])
    assert sheet.shape[0] % 2 == 0 and sheet.shape[1] % 2 == 0
    assert (sheet[:5, :7] == 200).all()
    assert (sheet == 100).all(axis=2).sum() == 12
