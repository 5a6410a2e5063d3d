"""Recordings that fit the small policy: in, how many; out, a data set in VPP's training layout, the same each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vpp_edge.video import write_video

SIZE, FPS, ROWS = 128, 10, 8
VIEWS = ("static", "wrist")


def write_recordings(root: Path, count: int) -> Path:
    """Recordings `0`, `1`, ... of ROWS rows, each with a state of position, quaternion (x, y, z, w) and 12 joints."""
    (root / "annotation" / "val").mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        videos = [f"videos/val/{number}/{view}.mp4" for view in VIEWS]
        for name in videos:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            write_video(root / name, _moving_blocks(random), FPS)
        note = {
            "texts": [f"push block {number}"],
            "videos": [{"video_path": name} for name in videos],
            "video_length": ROWS,
            "states": _states(random).tolist(),
        }
        (root / "annotation" / "val" / f"{number}.json").write_text(json.dumps(note))
    return root


def _moving_blocks(random: np.random.Generator) -> Iterator[np.ndarray]:
    """(SIZE, SIZE, 3) uint8 each: coarse coloured blocks that move a little from row to row."""
    blocks = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = blocks.repeat(SIZE // 8, axis=0).repeat(SIZE // 8, axis=1)
    for row in range(ROWS):
        yield np.roll(image, 3 * row, axis=1)


def _states(random: np.random.Generator) -> np.ndarray:
    """(ROWS, 19), a random walk."""
    states = random.uniform(-0.5, 0.5, 19) + random.normal(0, 0.02, (ROWS, 19)).cumsum(axis=0)
    states[:, 3:7] /= np.linalg.norm(states[:, 3:7], axis=1, keepdims=True)
    return states
