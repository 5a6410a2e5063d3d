"""What a teacher sees: kept in shards that depend on nothing but their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.export.distill import teacher
from vpp_edge.export.distill.observations import Observations
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.workflow.teaching import Teaching

COUNT = 3
HEAD = {"tokens", "goals", "proprio", "actions"}
VIDEO = {"frames", "text_hidden", "latents", "features", "scales"}


def observations(
    checkpoint: Path, recordings: Path, folder: Path, stride: int | None, told: list[float]
) -> Observations:
    read = read_checkpoint(paths_from_folder(checkpoint))
    teaching = Teaching(
        checkpoint=read,
        choices=Choices(),
        policy=policy_from_checkpoint(read),
        datasets=(recordings,),
        folder=folder,
        executor=None,
        stride=stride,
        device=torch.device("cpu"),
        part=(0, 1),
        report=lambda stage, fraction: told.append(fraction),
    )
    return teaching.observations("teacher", open_dataset(recordings).recordings, COUNT, 3)


@pytest.mark.parametrize(("stride", "columns"), [(None, HEAD), (2, HEAD | VIDEO)])
def test_a_lost_shard_is_made_again_the_same(
    small_checkpoint: Path,
    robot_recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stride: int | None,
    columns: set[str],
) -> None:
    monkeypatch.setattr(teacher, "SHARD", 2)
    told: list[float] = []
    first = observations(small_checkpoint, robot_recordings, tmp_path, stride, told)
    files = sorted(tmp_path.glob("teacher-*.safetensors"))
    kept = [load_file(file) for file in files]
    files[0].unlink()
    again = observations(small_checkpoint, robot_recordings, tmp_path, stride, told)
    assert len(first) == len(again) == COUNT and told == [0, 0.5, 1, 0.5, 1]
    for file, before in zip(files, kept, strict=True):
        after = load_file(file)
        assert set(after) == set(before) == columns
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values)
