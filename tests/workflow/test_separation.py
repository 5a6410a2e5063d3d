"""INT8 is not judged on what it was calibrated on: copies are found by content, what cannot be avoided is marked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edited import edit_json
from made_datasets import FPS, small_spec, write_lerobot, write_trajectories
from robot_recordings import write_recordings

from vpp_edge.bundle.manifest import CALIBRATION_NAME, Bundle
from vpp_edge.bundle.quantization import CalibrationTable, StageTable, calibration_from_json
from vpp_edge.bundle.separation import (
    UNKNOWN,
    RecordingContent,
    Separation,
    content_keys,
    separation,
    separation_from_json,
)
from vpp_edge.cli.certificate_text import certificate_lines
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError
from vpp_edge.video import read_frames, write_video
from vpp_edge.workflow.observations import DataOptions, held_out_observations, observations, separation_of

SPEC = small_spec()
LENGTHS = (8, 9, 10, 11)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trajectories(tmp_path_factory.mktemp("data") / "first", LENGTHS)


def annotation(root: Path, number: int) -> Path:
    return root / "annotation" / "val" / f"{number}.json"


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def renumbered(source: Path, target: Path) -> Path:
    """Recording 1 alone, as recording 77, with another instruction."""
    copied(source, target)
    for path in (target / "annotation" / "val").iterdir():
        if path.stem != "1":
            path.unlink()
    edit_json(annotation(target, 1), lambda note: note.update(texts=["something else"]))
    annotation(target, 1).rename(annotation(target, 77))
    return target


def cut(source: Path, target: Path) -> Path:
    """Rows 3 to 6 of recording 2, in new video files without loss."""
    copied(source, target)
    for path in (target / "annotation" / "val").iterdir():
        if path.stem != "2":
            path.unlink()

    def shorten(note: dict[str, Any]) -> None:
        note.update(states=note["states"][3:7], video_length=4)

    edit_json(annotation(target, 2), shorten)
    for view in range(2):
        video = target / "videos" / "val" / "2" / f"{view}.mp4"
        frames = list(read_frames(video))[3:7]
        write_video(video, iter(frames), FPS)
    return target


def other_pictures(source: Path, target: Path) -> Path:
    """Its states only: the videos were encoded again."""
    copied(source, target)
    random = np.random.default_rng(0)
    for path in target.rglob("*.mp4"):
        noisy = [np.clip(f.astype(int) + random.integers(-9, 9, f.shape), 0, 255).astype(np.uint8) for f in
                 read_frames(path)]  # fmt: skip
        write_video(path, iter(noisy), FPS)
    return target


def other_states(source: Path, target: Path) -> Path:
    """Its pictures only: the states were measured in another frame."""
    copied(source, target)
    for path in (target / "annotation" / "val").iterdir():
        edit_json(path, lambda note: note.update(states=[[v + 0.25 for v in row] for row in note["states"]]))
    return target


def in_another_layout(source: Path, target: Path) -> Path:
    return write_lerobot(target, LENGTHS)


@pytest.mark.parametrize(
    "made", [lambda source, target: source, copied, renumbered, cut, other_pictures, other_states, in_another_layout]
)
def test_what_was_calibrated_on_is_found_under_any_name(
    recordings: Path, tmp_path: Path, made: Callable[[Path, Path], Path]
) -> None:
    elsewhere = made(recordings, tmp_path / "elsewhere")
    seen, held_out = observations(SPEC, DataOptions(recordings, held_out=elsewhere, samples=8, held_out_samples=1))
    with pytest.raises(BadInputError, match=r"these held-out recordings were calibrated on: .*--held-out"):
        separation_of(seen, held_out)


def test_the_error_names_the_recordings_on_both_sides(recordings: Path, tmp_path: Path) -> None:
    elsewhere = renumbered(recordings, tmp_path / "elsewhere")
    seen, held_out = observations(SPEC, DataOptions(recordings, held_out=elsewhere, samples=8, held_out_samples=1))
    with pytest.raises(BadInputError, match=r"calibrated on: 77 \(there 1, 100 % of it is the same\)\."):
        separation_of(seen, held_out)


def test_a_recording_that_is_twice_in_one_data_set(recordings: Path, tmp_path: Path) -> None:
    twice = copied(recordings, tmp_path / "twice")
    shutil.copyfile(annotation(twice, 0), annotation(twice, 4))
    with pytest.raises(BadInputError, match=r"4 \(there 0"):
        separation_of(*observations(SPEC, DataOptions(twice, samples=8, held_out_samples=1)))


@pytest.mark.parametrize("layout", [write_trajectories, write_lerobot])
def test_other_recordings_of_one_data_set_are_apart(tmp_path: Path, layout: Callable[..., Path]) -> None:
    options = DataOptions(layout(tmp_path / "data", LENGTHS), samples=8, held_out_samples=2)
    assert separation_of(*observations(SPEC, options)) == Separation("recordings")


def test_pictures_at_rest_are_no_copies(tmp_path: Path) -> None:
    """A robot at its home pose, and a camera that starts black, look the same in every recording."""
    rest = [b"home"] * 20
    first = RecordingContent(name="a", rows=(0,), keys=content_keys([[*rest, b"1", b"2", b"3"]]))
    second = RecordingContent(name="b", rows=(0,), keys=content_keys([[*rest, b"4", b"5", b"6"]]))
    assert separation([first], [second]) == Separation("recordings")
    still = RecordingContent(name="c", rows=(0,), keys=content_keys([rest]))
    with pytest.raises(BadInputError, match=r"c .there c"):
        separation([still], [still])


def test_a_recording_counts_whether_or_not_an_observation_was_taken_from_it(recordings: Path) -> None:
    options = DataOptions(recordings, samples=1, held_out_samples=1)
    seen, held_out = observations(SPEC, options)
    assert [(c.name, c.rows) for c in seen.content] == [("0", ()), ("1", (5,)), ("2", ())]
    assert [c.name for c in held_out.content] == ["3"]
    with pytest.raises(BadInputError, match=r"0 .there 0.*, 3 .there 3"):
        separation_of(*observations(SPEC, replace(options, held_out=recordings)))


def without_states(source: Path, target: Path) -> Path:
    copied(source, target)
    for path in (target / "annotation" / "val").iterdir():
        edit_json(path, lambda note: note.update(states=[[0.0, 0.0, 0.0] for _ in note["states"]]))
    return target


def test_where_states_do_not_move_pictures_decide(recordings: Path, tmp_path: Path) -> None:
    still = without_states(recordings, tmp_path / "still")
    options = DataOptions(still, samples=1, held_out_samples=1)
    assert separation_of(*observations(SPEC, options)) == Separation("recordings")
    with pytest.raises(BadInputError, match=r"0 .there 0.*, 3 .there 3"):
        separation_of(*observations(SPEC, replace(options, held_out=copied(still, tmp_path / "copy"))))


def test_a_single_recording_is_judged_on_its_end_and_marked(recordings: Path) -> None:
    options = DataOptions(annotation(recordings, 3), samples=4, held_out_samples=1)
    apart = separation_of(*observations(SPEC, options))
    assert apart == Separation("rows", "3")
    assert apart.line.startswith("CAUTION: judged on later rows of the recording that it was calibrated on (3)")


class TestTable:
    def test_it_keeps_the_content_and_not_the_names(self, recordings: Path) -> None:
        seen, _ = observations(SPEC, DataOptions(recordings, samples=8, held_out_samples=1))
        table = CalibrationTable(method="max", alpha=0.5, data={}, stages={}, recordings=seen.content)
        read = calibration_from_json(json.loads(json.dumps(table.to_json())))
        assert read == table
        renamed = tuple(replace(r, name=f"x{r.name}") for r in reversed(seen.content))
        again = replace(table, recordings=renamed).to_json()
        assert again["content"]["dataset_sha256"] == table.to_json()["content"]["dataset_sha256"]
        assert again["content"]["recordings"][0]["rows"] == list(renamed[0].rows)

    def test_a_later_export_is_held_to_it(self, recordings: Path, tmp_path: Path) -> None:
        seen, _ = observations(SPEC, DataOptions(recordings, samples=8, held_out_samples=1))
        whole = DataOptions(copied(recordings, tmp_path / "copy"), samples=1, held_out_samples=4)
        with pytest.raises(BadInputError, match=r"0 .there 0.*, 1 .there 1.*, 2 .there 2"):
            separation(seen.content, held_out_observations(SPEC, whole).content)
        rest = held_out_observations(SPEC, replace(whole, recordings=("0", "1", "2")))
        assert rest.data["recordings"] == ["3"]
        assert separation(seen.content, rest.content) == Separation("recordings")
        with pytest.raises(BadInputError, match="none is left to evaluate on"):
            held_out_observations(SPEC, replace(whole, recordings=("0", "1", "2", "3")))

    def test_without_content_it_is_unknown_and_says_so(self, recordings: Path) -> None:
        table = CalibrationTable(method="max", alpha=0.5, data={"recordings": ["0"]}, stages={})
        old = {k: v for k, v in table.to_json().items() if k != "content"}
        assert calibration_from_json(old).recordings is None
        apart = separation(calibration_from_json(old).recordings, ())
        assert apart == UNKNOWN and "unknown whether" in apart.line and "vpp-edge calibrate" in apart.line

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda r: r.update(keys="xyz"),
            lambda r: r.update(keys="00" * 8),
            lambda r: r.update(keys=3),
            lambda r: r.update(rows=None),
            lambda r: r.pop("sha256"),
        ],
    )
    def test_a_garbled_content_is_refused(self, spoil: Callable[[dict[str, Any]], object]) -> None:
        content = RecordingContent(name="a", rows=(0,), keys=content_keys([[b"1", b"2", b"3"]]))
        stages = {"act": StageTable(graph_sha256="", ranges={})}
        data = CalibrationTable(method="max", alpha=0, data={}, stages=stages, recordings=(content,)).to_json()
        spoil(data["content"]["recordings"][0])
        with pytest.raises(BadInputError, match="calibration table is incomplete or malformed"):
            calibration_from_json(data)


class TestCommands:
    @pytest.fixture
    def robot(self, tmp_path: Path) -> Iterator[Path]:
        yield write_recordings(tmp_path / "renamed", 3)  # what the fixture robot_recordings holds

    @pytest.mark.parametrize("command", ["export", "calibrate"])
    def test_an_overlap_is_status_2_before_anything_is_measured(
        self,
        capsys: pytest.CaptureFixture[str],
        small_bundle: Path,
        robot_recordings: Path,
        robot: Path,
        tmp_path: Path,
        command: str,
    ) -> None:
        words = {
            "export": ["export", small_bundle, "--precision", "int8", "--calibration", robot_recordings],
            "calibrate": ["calibrate", small_bundle, robot_recordings],
        }[command]
        status = main([str(w) for w in (*words, "--held-out", robot, "-o", tmp_path / "out", "--quiet")])
        err = capsys.readouterr().err
        assert status == 2 and "0 (there 0, 100 % of it is the same), 1 (there 1" in err
        assert not (tmp_path / "out").exists()

    def test_fp16_is_not_calibrated_so_nothing_overlaps(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, robot_recordings: Path, tmp_path: Path
    ) -> None:
        words = ["export", small_bundle, "--precision", "fp16", "--calibration", robot_recordings, "--held-out",
                 robot_recordings, "--held-out-samples", 1, "-o", tmp_path / "fp16", "--quiet"]  # fmt: skip
        assert main([str(w) for w in words]) == 0
        assert "held out:" not in capsys.readouterr().out
        assert Bundle(tmp_path / "fp16").manifest.certificate["separation"] is None

    def test_a_saved_table_and_the_recordings_that_it_came_from(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, int8_bundle: Path, robot: Path, tmp_path: Path
    ) -> None:
        words = ["export", small_bundle, "--precision", "int8", "--calibration", int8_bundle / CALIBRATION_NAME,
                 "--held-out", robot, "-o", tmp_path / "b", "--quiet"]  # fmt: skip
        assert main([str(w) for w in words]) == 2
        assert "calibrated on: 0 (there 0" in capsys.readouterr().err

    def test_inspect_shows_how_it_was_judged(
        self, capsys: pytest.CaptureFixture[str], int8_bundle: Path, int8_copy: Path
    ) -> None:
        assert main(["inspect", str(int8_bundle)]) == 0
        assert "held out: no recording was calibrated on, compared by content" in capsys.readouterr().out
        edit_json(int8_copy / "manifest.json", lambda data: data["certificate"].pop("separation"))
        assert main(["inspect", str(int8_copy)]) == 0
        assert "CAUTION: unknown whether" in capsys.readouterr().out


def test_the_certificate_shows_what_it_could_not_avoid() -> None:
    from vpp_edge.bundle.certificate import Certificate

    marked = separation_from_json(Separation("rows", "5").to_json())
    certificate = Certificate(
        reference="r", data="d", samples=1, limits={}, stages={}, end_to_end={}, separation=marked
    )
    assert any("calibrated on (5)" in line for line in certificate_lines(certificate))
    with pytest.raises(BadInputError, match="expected recordings, rows, unknown"):
        separation_from_json({"kind": "fine", "recording": ""})
