"""What file managers, notebooks, editors and downloads leave in a data set is neither a recording nor refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_datasets import write_lerobot, write_trajectories

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.files.paths import data_files

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
LEFT_BEHIND = [
    "._0.json",
    ".0.json.4711",
    ".DS_Store",
    ".ipynb_checkpoints/0-checkpoint.json",
    ".ipynb_checkpoints/0.json",
    "0.json.incomplete",
    "0.json.part",
    "0.json.crdownload",
    "0.json~",
    "__MACOSX/._0.json",
    "__MACOSX/0.json",
    "@eaDir/0.json",
    ".cache/huggingface/download/0.json",
    ".Trash-1000/files/0.json",
    "Thumbs.db",
    "desktop.ini",
]


def leave(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(APPLE_DOUBLE)


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_they_are_no_annotations(tmp_path: Path, name: str) -> None:
    write_trajectories(tmp_path, (2, 2))
    for folder in ("", "annotation", "annotation/val", "videos/val/0"):
        leave(tmp_path / folder, name)
    for path in (tmp_path, tmp_path / "annotation" / "val"):
        assert [recording.name for recording in open_dataset(path).recordings] == ["0", "1"]


@pytest.mark.parametrize("name", [name.replace("0.json", "file-000.parquet") for name in LEFT_BEHIND])
def test_they_are_no_tables(tmp_path: Path, name: str) -> None:
    write_lerobot(tmp_path, (2, 2))
    for folder in (
        "",
        "meta",
        "meta/episodes",
        "meta/episodes/chunk-000",
        "data/chunk-000",
        "meta/episodes/.chunk-000",
    ):
        leave(tmp_path / folder, name)
    assert [recording.name for recording in open_dataset(tmp_path).recordings] == ["0", "1"]


def test_a_data_set_inside_a_hidden_folder_is_read(tmp_path: Path) -> None:
    root = write_trajectories(tmp_path / ".cache" / "robot", (2,))
    assert len(open_dataset(root).recordings) == 1


def test_folders_with_the_name_of_a_file_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    (tmp_path / "b.json").write_text("{}")
    assert data_files(tmp_path, "*.json") == [tmp_path / "b.json"]
