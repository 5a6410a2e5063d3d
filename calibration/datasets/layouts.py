"""Detect the layout of a data set and open its recordings."""

from __future__ import annotations

from pathlib import Path

from vpp_edge.calibration.datasets.lerobot import is_lerobot, open_lerobot
from vpp_edge.calibration.datasets.recording import Dataset
from vpp_edge.calibration.datasets.trajectories import is_trajectories, open_trajectories
from vpp_edge.errors import BadInputError
from vpp_edge.files.foreign import foreign_content


def open_dataset(path: Path) -> Dataset:
    """The recordings of a data set.

    Args:
        path: VPP's training layout (the folder with `annotation/` and `videos/`, a split of it, or one annotation;
            `vpp-edge run --record` writes it), or a LeRobot v3 folder (with `meta/info.json`).

    Raises:
        BadInputError: unknown layout, or a damaged data set.
        MissingDependencyError: LeRobot's tables need pyarrow.
    """
    if not path.exists():
        raise BadInputError(f"{path}: no such data set")
    found = foreign_content(path)
    if found is not None:
        raise BadInputError(f"{path}: {found}")
    if is_lerobot(path):
        return open_lerobot(path)
    if is_trajectories(path):
        return open_trajectories(path)
    raise BadInputError(
        f"{path}: not a data set in a known layout; expected `annotation/` and `videos/` (VPP's training layout, "
        "also of `vpp-edge run --record`) or `meta/info.json` (LeRobot v3)"
    )
