"""How smoothly a hand moved: jerk of its commands, and jumps between consecutive chunks.

Wrist values are vector norms, joint values root mean squares.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from vpp_edge.runtime.control.chunk_player import pose_at
from vpp_edge.runtime.control.scalar_rotation import difference
from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.spec.pose import PoseLayout


def jerks(commands: np.ndarray, period_ns: int) -> np.ndarray:
    """(n - 3, 2) jerk of commands (n, 7 + J) sent one period apart: wrist in m/s^3, joints in rad/s^3."""
    thirds = np.diff(commands, n=3, axis=0) / (period_ns / 1e9) ** 3
    wrist = np.linalg.norm(thirds[:, PoseLayout.POSITION], axis=1)
    return np.stack([wrist, _rms(thirds[:, PoseLayout.JOINTS])], axis=1)


def seam_jumps(played: Sequence[tuple[Chunk, int]], period_ns: int) -> np.ndarray:
    """(k, 3) jumps where a chunk replaced an unfinished one: wrist in m, wrist in rad, joints in rad.

    A jump is the distance between the two plans at the time of the new chunk's first future target. It shows how well
    chunks agree, independently of how the control loop blends them.

    Args:
        played: chunks as they were executed, each with the time of its start.
        period_ns: between two targets.
    """
    jumps = []
    for (old, _), (new, now_ns) in itertools.pairwise(played):
        if now_ns >= old.end_ns(period_ns):
            continue
        index = (now_ns - new.observed_ns) // period_ns
        target, planned = new.targets[index], pose_at(old, new.observed_ns + (index + 1) * period_ns, period_ns)
        away = target - planned
        turn = difference(planned[PoseLayout.QUATERNION], target[PoseLayout.QUATERNION])
        jumps.append((np.linalg.norm(away[PoseLayout.POSITION]), np.linalg.norm(turn), _rms(away[PoseLayout.JOINTS])))
    return np.array(jumps, dtype=np.float64).reshape(-1, 3)


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=-1))
