"""What a student learns from and is measured on, of one data set and of several."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_datasets import write_trajectories
from robot_recordings import ROWS, write_recordings

from vpp_edge.errors import BadInputError
from vpp_edge.workflow.lesson_data import training_and_held_out


def test_other_data_sets_are_for_training_only(robot_recordings: Path, tmp_path: Path) -> None:
    write_trajectories(tmp_path, [5, 9])
    for more, lengths in ((), [ROWS, ROWS]), ((tmp_path,), [ROWS, ROWS, 5, 9]):
        training, judging = training_and_held_out((robot_recordings, *more), ())
        assert [recording.length for recording in training] == lengths
        assert [recording.instruction for recording in judging] == ["push block 2"]


def test_a_copy_of_what_is_held_out_is_refused(robot_recordings: Path, tmp_path: Path) -> None:
    copy = write_recordings(tmp_path / "copy", 3)
    with pytest.raises(BadInputError, match=r"copy: recording 2 has 100 % of recording 2, which is held out"):
        training_and_held_out((robot_recordings, copy), ())
    (copy / "annotation" / "val" / "2.json").unlink()
    assert len(training_and_held_out((robot_recordings, copy), ())[0]) == 4
