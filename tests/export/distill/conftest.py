"""A teacher that has something to give up: widths that differ, two layers a block, eight frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_policy import SMALL

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, read_checkpoint
from vpp_edge.checkpoint.untrained import write_untrained_checkpoint

TEACHER = replace(SMALL, channels=(32, 64, 64, 64), blocks=2, frames=8, vae_channels=(32, 32, 64, 64))


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    write_untrained_checkpoint(folder, TEACHER)
    return folder


@pytest.fixture(scope="session")
def teacher_checkpoint(teacher_folder: Path) -> Checkpoint:
    return read_checkpoint(paths_from_folder(teacher_folder))
