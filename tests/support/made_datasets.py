"""Data sets for tests: in, lengths of episodes; out, a folder whose frames have their numbers painted on.

Row r of view v of an episode shows `painted(v, first + r)`, where `first` differs between episodes, so that a wrong
row, view or episode is seen. `number_in` reads it back through any video codec.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.spec.policy import ActionSegment, ActionSpec, Bounds, CameraSpec, PolicySpec, StateSpec
from vpp_edge.video import write_video

SIZE, FPS, STATES = 64, 10, 3
_BANDS = 8  # two bits of the view, six of the number
VIEWS = ("observation.images.static", "observation.images.wrist")
Columns = dict[str, list[Any]]


def painted(view: int, number: int) -> np.ndarray:
    """(SIZE, SIZE, 3) uint8: the bits of view and number as light and dark bands."""
    bits = [((view << 6) + number) >> i & 1 for i in range(_BANDS)]
    row = np.repeat(np.array(bits, np.uint8) * 200 + 20, SIZE // _BANDS)
    return np.broadcast_to(row[None, :, None], (SIZE, SIZE, 3)).copy()


def number_in(image: np.ndarray) -> tuple[int, int]:
    """(view, number) of a painted image."""
    levels = image.mean(axis=(0, 2)).reshape(_BANDS, -1).mean(axis=1)
    value = sum(1 << i for i, level in enumerate(levels) if level > 120)
    return value >> 6, value & 63


def states_of(first: int, length: int) -> list[list[float]]:
    """(length, STATES): number of the frame, its square, and a constant."""
    return [[float(n), float(n * n), 0.5] for n in range(first, first + length)]


def write_trajectories(root: Path, lengths: Sequence[int], split: str = "val", views: int = 2) -> Path:
    """VPP's training layout; the episodes are numbered from 0, and the frames through all of them."""
    first = 0
    (root / "annotation" / split).mkdir(parents=True)
    for episode, length in enumerate(lengths):
        videos = [f"videos/{split}/{episode}/{v}.mp4" for v in range(views)]
        for view, name in enumerate(videos):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_video(root / name, (painted(view, n) for n in range(first, first + length)), FPS)
        note = {
            "task": "robot_trajectory_prediction",
            "texts": [f"task {episode}"],
            "episode_id": episode,
            "videos": [{"video_path": name} for name in videos],
            "video_length": length,
            "states": states_of(first, length),
            "actions": states_of(first, length),
        }
        (root / "annotation" / split / f"{episode}.json").write_text(json.dumps(note))
        first += length
    return root


def write_lerobot(
    root: Path,
    lengths: Sequence[int],
    edit_episodes: Callable[[Columns], object] = lambda columns: None,
    edit_data: Callable[[Columns], object] = lambda columns: None,
    edit_info: Callable[[dict[str, Any]], object] = lambda info: None,
) -> Path:
    """A LeRobot v3.0 folder: all episodes in one table and, per view, in one video. The functions may spoil it."""
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    total, numbers = sum(lengths), range(len(lengths))
    episodes: Columns = {
        "episode_index": [*numbers],
        "tasks": [[f"task {i}"] for i in numbers],
        "length": [*lengths],
        "data/chunk_index": [0 for _ in numbers],
        "data/file_index": [0 for _ in numbers],
        "dataset_from_index": starts,
        "dataset_to_index": [s + n for s, n in zip(starts, lengths, strict=True)],
        "stats/observation.state/mean": [[0.0] * STATES for _ in numbers],
        "meta/episodes/chunk_index": [0 for _ in numbers],
        "meta/episodes/file_index": [0 for _ in numbers],
    }
    for view, key in enumerate(VIEWS):
        episodes[f"videos/{key}/chunk_index"] = [0 for _ in numbers]
        episodes[f"videos/{key}/file_index"] = [view for _ in numbers]  # each view has its own numbering
        episodes[f"videos/{key}/from_timestamp"] = [s / FPS for s in starts]
        episodes[f"videos/{key}/to_timestamp"] = [(s + n) / FPS for s, n in zip(starts, lengths, strict=True)]
        video = root / "videos" / key / "chunk-000" / f"file-{view:03d}.mp4"
        video.parent.mkdir(parents=True)
        write_video(video, (painted(view, n) for n in range(total)), FPS)
    owners = [i for i in numbers for _ in range(lengths[i])]
    rows = [n - starts[i] for n, i in enumerate(owners)]
    data: Columns = {
        "observation.state": states_of(0, total),
        "action": states_of(0, total),
        "timestamp": [r / FPS for r in rows],
        "frame_index": rows,
        "episode_index": owners,
        "index": [*range(total)],
        "task_index": owners,
    }
    features: dict[str, Any] = {key: {"dtype": "video", "shape": [SIZE, SIZE, 3], "names": None} for key in VIEWS}
    features["observation.state"] = {"dtype": "float32", "shape": [STATES], "names": None}
    info: dict[str, Any] = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "total_episodes": len(lengths),
        "features": features,
    }
    edit_info(info)
    edit_episodes(episodes)
    edit_data(data)
    write_table(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet", episodes)
    write_table(root / "data" / "chunk-000" / "file-000.parquet", data)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    return root


def write_table(path: Path, columns: Columns) -> None:
    """A Parquet file."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def small_spec(views: int = 2, state: bool = True) -> PolicySpec:
    """A policy that sees the painted frames as they are, with or without a state."""
    return PolicySpec(
        variant="xhand",
        cameras=tuple(CameraSpec(f"camera{i}", SIZE, SIZE) for i in range(views)),
        frames=2,
        latent=(4, 8, 8),
        tokens=(4, 8),
        text_lengths=(20, 77),
        pad_token_id=0,
        action=ActionSpec(3, 2, 100_000_000, None, (ActionSegment("raw", 0, 3, "1"),)),
        state=StateSpec(STATES, Bounds((0.0, 0.0, 0.0), (100.0, 10_000.0, 1.0))) if state else None,
        sigmas=(1.0, 0.0),
    )
