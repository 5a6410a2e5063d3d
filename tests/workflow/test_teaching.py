"""What a teacher sees: kept in shards that depend on nothing but their number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.export.distill import teacher
from vpp_edge.export.distill.head import Seen
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.workflow.teaching import Teaching

COUNT = 3


def seen(checkpoint: Path, recordings: Path, folder: Path, told: list[float]) -> Seen:
    read = read_checkpoint(paths_from_folder(checkpoint))
    teaching = Teaching(
        checkpoint=read,
        policy=policy_from_checkpoint(read),
        dataset=recordings,
        folder=folder,
        executor=None,
        report=lambda stage, fraction: told.append(fraction),
    )
    return teaching.seen("teacher", open_dataset(recordings).recordings, COUNT, 3)


def test_a_lost_shard_is_made_again_the_same(
    small_checkpoint: Path, robot_recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "SHARD", 2)
    told: list[float] = []
    first = seen(small_checkpoint, robot_recordings, tmp_path, told)
    lost, _ = sorted(tmp_path.glob("teacher-*.safetensors"))
    lost.unlink()
    again = seen(small_checkpoint, robot_recordings, tmp_path, told)
    assert len(again) == COUNT and told == [0, 0.5, 1, 0.5, 1]
    assert torch.equal(again.tokens, first.tokens) and torch.equal(again.goals, first.goals)
    assert again.proprio is not None and first.proprio is not None and torch.equal(again.proprio, first.proprio)
