"""What is said about LeRobot data sets that are not read: other versions, missing columns, cameras without videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_datasets import SIZE, VIEWS, number_in, write_lerobot

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.errors import BadInputError

pytest.importorskip("av")


def refusal(root: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        open_dataset(root)
    message = str(caught.value)
    assert "Error(" not in message, "the name of a Python exception tells a user nothing"
    return message


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("v1.6", "convert_dataset_v1_to_v2, then convert_dataset_v20_to_v21, then convert_dataset_v21_to_v30"),
        ("v2.0", "LeRobot's convert_dataset_v20_to_v21, then convert_dataset_v21_to_v30"),
        ("v2.1", "LeRobot's convert_dataset_v21_to_v30"),
        ("v4.0", "is newer than v3"),
        ("v10.2", "is newer than v3"),
        ("5", "is newer than v3"),
        (None, "codebase_version is None; expected a LeRobot data set of format v3.0"),
        (3, "codebase_version is 3; expected"),
        ("latest", "codebase_version is 'latest'; expected"),
        ("v30", "is newer than v3"),
        ("v3.x", "codebase_version is 'v3.x'; expected"),
        (["v3.0"], "expected a LeRobot data set of format v3.0"),
    ],
)
def test_every_other_version_gets_its_own_advice(tmp_path: Path, version: object, said: str) -> None:
    root = write_lerobot(tmp_path, (2,), edit_info=lambda info: info.update(codebase_version=version))
    message = refusal(root)
    assert said in message and "info.json" in message
    assert ("convert" in message) == (version in ("v1.6", "v2.0", "v2.1"))


@pytest.mark.parametrize("version", ["v3.0", "v3.1", "3.0", "v3"])
def test_every_version_3_is_read(tmp_path: Path, version: str) -> None:
    root = write_lerobot(tmp_path, (2,), edit_info=lambda info: info.update(codebase_version=version))
    assert len(open_dataset(root).recordings) == 1


COLUMNS = [
    "tasks",
    "length",
    "episode_index",
    "data/chunk_index",
    "data/file_index",
    *(f"videos/{VIEWS[0]}/{field}" for field in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")),
]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named_with_its_folder(tmp_path: Path, column: str) -> None:
    message = refusal(write_lerobot(tmp_path, (2,), edit_episodes=lambda columns: columns.pop(column)))
    assert f"meta/episodes: a missing or invalid field of an episode: there is no column '{column}'; copy" in message


def test_a_missing_column_of_the_rows_is_named(tmp_path: Path) -> None:
    message = refusal(write_lerobot(tmp_path, (2,), edit_data=lambda columns: columns.pop("episode_index")))
    assert "file-000.parquet" in message and "there is no column 'episode_index'" in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fps": None}, "fps is None; expected the rows per second"),
        ({"fps": True}, "fps is True; expected"),
        ({"fps": "10"}, "fps is '10'; expected"),
        ({"features": None}, "features is None; expected an object with the cameras"),
        ({"features": {}}, "0 video features; expected at least one camera"),
    ],
)
def test_a_wrong_field_of_the_description_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(write_lerobot(tmp_path, (2,), edit_info=lambda info: info.update(change)))


def with_images(info: dict[str, Any], before: bool) -> None:
    """Adds a camera whose pictures are in the tables."""
    wrist = {"observation.images.hand": {"dtype": "image", "shape": [SIZE, SIZE, 3]}}
    info["features"] = {**wrist, **info["features"]} if before else {**info["features"], **wrist}


def test_a_camera_in_the_tables_keeps_its_place_and_is_named_when_it_is_used(tmp_path: Path) -> None:
    (recording,) = open_dataset(
        write_lerobot(tmp_path, (3,), edit_info=lambda info: with_images(info, True))
    ).recordings
    assert [view.name for view in recording.views] == ["observation.images.hand", *VIEWS]
    with pytest.raises(BadInputError, match=r"observation\.images\.hand of recording 0 is stored as images.*--views"):
        recording.images([0], 1)
    chosen = recording.with_views(("static", "wrist"))
    assert [number_in(image) for image in chosen.images([2], 2)[0]] == [(0, 2), (1, 2)]


def test_a_camera_in_the_tables_that_is_not_used_is_no_obstacle(tmp_path: Path) -> None:
    (recording,) = open_dataset(
        write_lerobot(tmp_path, (3,), edit_info=lambda info: with_images(info, False))
    ).recordings
    assert [number_in(image) for image in recording.images([1], 2)[0]] == [(0, 1), (1, 1)]
    with pytest.raises(BadInputError, match="is stored as images inside the tables"):
        recording.images([1], 3)


def test_only_cameras_in_the_tables_are_named(tmp_path: Path) -> None:
    def images_only(info: dict[str, Any]) -> None:
        for key in VIEWS:
            info["features"][key]["dtype"] = "image"

    message = refusal(write_lerobot(tmp_path, (2,), edit_info=images_only))
    assert VIEWS[0] in message and VIEWS[1] in message and "convert them to videos" in message
