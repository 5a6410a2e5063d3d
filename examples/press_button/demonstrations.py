"""Reads the demonstrations that make_data wrote, as states, action chunks and frames for training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from vpp_edge.errors import BadInputError
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.paths import data_files
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.spec.rotation import quaternion_product
from vpp_edge.video import read_frames


@dataclass(frozen=True)
class Demonstration:
    """One demonstration at 10 Hz: measured states (N, 19), sent commands (N, 19), one video per view."""

    instruction: str
    states: np.ndarray
    commands: np.ndarray
    videos: tuple[Path, ...]

    def frames(self, view: int, size: int) -> torch.Tensor:
        """(N, 3, size, size) float32 in -1..1, resized as in `vpp_edge.spec.preprocess`."""
        video = np.stack(list(read_frames(self.videos[view])))
        if len(video) != len(self.states):
            raise BadInputError(f"{self.videos[view]}: {len(video)} frames for {len(self.states)} rows; make it again")
        images = torch.from_numpy(video).permute(0, 3, 1, 2).float()
        images = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        return images.round().clamp(0, 255) / 127.5 - 1

    def chunks(self, horizon: int) -> np.ndarray:
        """(N, T, 18) actions in physical units, in the layout of VPP's xhand data: delta xyz to the first state,
        relative rotation (roll, pitch, yaw) in its frame, absolute joints. After the end, the last command repeats."""
        count = len(self.states)
        following = np.minimum(np.arange(count)[:, None] + 1 + np.arange(horizon), count - 1)
        wanted, now = self.commands[following], self.states[:, None]
        inverse = now[..., PoseLayout.QUATERNION] * np.array((-1.0, -1.0, -1.0, 1.0))
        orientation = wanted[..., PoseLayout.QUATERNION]
        turns = quaternion_product(np.broadcast_to(inverse, orientation.shape), orientation)
        moves = wanted[..., PoseLayout.POSITION] - now[..., PoseLayout.POSITION]
        return np.concatenate([moves, _rpy(turns), wanted[..., PoseLayout.JOINTS]], axis=-1)


def read_demonstrations(folder: Path, split: str = "train") -> list[Demonstration]:
    """All demonstrations of a split, ordered by number."""
    files = sorted(data_files(folder / "annotation" / split, "*.json"), key=lambda path: int(path.stem))
    if not files:
        raise BadInputError(f"{folder}: no demonstrations in split {split}; create some with make_data.py")
    found = []
    for file in files:
        data = read_json_file(file, "a demonstration")
        videos = tuple(folder / video["video_path"] for video in data["videos"])
        found.append(Demonstration(data["texts"][0], np.array(data["states"]), np.array(data["actions"]), videos))
    return found


def bounds(values: Iterator[np.ndarray] | list[np.ndarray], least: float) -> tuple[list[float], list[float]]:
    """1st and 99th percentile of each column, at least `least` apart: VPP's normalization bounds."""
    low, high = np.percentile(np.concatenate([v.reshape(-1, v.shape[-1]) for v in values]), (1, 99), axis=0)
    wider = np.maximum(least - (high - low), 0) / 2
    return (low - wider).tolist(), (high + wider).tolist()


def _rpy(quaternion: np.ndarray) -> np.ndarray:
    """(..., 3) roll, pitch, yaw in rad of quaternions (..., 4); singular at a pitch of 90 degrees."""
    x, y, z, w = np.moveaxis(quaternion, -1, 0)
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1, 1))
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.stack([roll, pitch, yaw], axis=-1)
