"""The demo: the whole path from bundle to hand in simulation, and what it leaves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.cli.demo import line_of
from vpp_edge.cli.main import main
from vpp_edge.demo.bitmap_font import ink_of
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.demo.run_video import captioned, side_by_side
from vpp_edge.runtime.control import guards
from vpp_edge.runtime.sim.sequence import Result
from vpp_edge.runtime.sim.task import episode_from_seed

pytestmark = pytest.mark.live


def test_demo_plays_an_episode_and_leaves_video_and_animation(
    small_checkpoint: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(POLICIES, DEMO, replace(POLICIES[DEMO], folder=small_checkpoint))
    monkeypatch.setattr(guards, "RUNAWAY_NS", 60_000_000_000)  # its weights are random, and so are its targets
    shutil.copytree(small_bundle, tmp_path / "bundle-fp32")  # as an earlier demo would have left one
    assert main(["demo", "-o", str(tmp_path), "--episodes", "1", "--seed", "3", "--json"]) == 0
    captured = capsys.readouterr()
    assert "of an earlier run" in captured.err and "press the" in captured.err
    report = json.loads(captured.out)
    (episode,) = report["episodes"]
    assert episode["seed"] == 30_000 and episode["instruction"] == episode_from_seed(30_000).instruction
    assert report["success"] == (episode["verdict"] == "success")
    assert report["ended"] == "all episodes played: hand held"
    assert report["control"]["chunks"]["used"] > 0 and report["control"]["loop"]["ticks"] > 200
    assert len(report["cameras"]) == 2 and all(c["delivered"] > 0 for c in report["cameras"])
    assert {"perceive", "act"} <= report["policy"]["stages"].keys()
    assert Path(report["animation"]).read_bytes()[8:12] == b"WEBP"
    frames = decoded(Path(report["video"]))
    assert len(frames) > 10
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 40, "nothing moved"


def decoded(path: Path) -> list[np.ndarray]:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("option", "value"), [("--episodes", "0"), ("--episodes", "1001"), ("--seed", "-1"), ("--seed", "1000")]
)
def test_impossible_numbers_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", option, value]) == 2
    assert option in capsys.readouterr().err


def test_a_person_reads_which_button_was_pressed_instead() -> None:
    episode = episode_from_seed(1)
    wrong = next(colour for colour in ("red", "green") if colour != episode.colour)
    assert line_of(Result(episode, "success", (episode.colour,), 3.21)).endswith("  success after 3.2 s")
    assert line_of(Result(episode, "wrong button", (wrong,), 2.0)).endswith(f"  wrong button ({wrong}) after 2.0 s")


def test_side_by_side_keeps_every_pixel_and_even_sides() -> None:
    left, right = np.full((5, 7, 3), 200, np.uint8), np.full((3, 4, 3), 100, np.uint8)
    sheet = side_by_side([left, right])
    assert sheet.shape[0] % 2 == 0 and sheet.shape[1] % 2 == 0
    assert (sheet[:5, :7] == 200).all()
    assert (sheet == 100).all(axis=2).sum() == 12


def test_a_caption_is_below_the_picture_and_legible() -> None:
    picture = np.full((20, 200, 3), 90, np.uint8)
    sheet = captioned(picture, "press: 1.")
    assert (sheet[:20] == 90).all() and sheet.shape[0] % 2 == 0
    np.testing.assert_array_equal(sheet[26:42, 6:114, 0] > 200, ink_of("press: 1.", 2))
    assert captioned(picture, "x" * 100).shape == sheet.shape


def test_letters_differ() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789:., ü"
    assert len({ink_of(letter).tobytes() for letter in letters}) == len(letters)
    assert ink_of("l").T.tolist()[2] == [True] * 7 + [False]
