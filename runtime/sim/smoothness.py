"""How smoothly a hand was moved: in, commands and the chunks behind them; out, their jerk, and the jumps at seams.

Of the wrist the length of a vector is meant everywhere, of the joints the root mean square.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from vpp_edge.runtime.control.chunk_player import WRIST, Chunk, pose_at
from vpp_edge.runtime.control.scalar_rotation import difference


def jerks(commands: np.ndarray, period_ns: int) -> np.ndarray:
    """(n - 3, 2) jerk of commands (n, 7 + J) that were sent one period apart: wrist in m/s^3, joints in rad/s^3."""
    thirds = np.diff(commands, n=3, axis=0) / (period_ns / 1e9) ** 3
    return np.stack([np.linalg.norm(thirds[:, :3], axis=1), _rms(thirds[:, WRIST:])], axis=1)


def seam_jumps(played: Sequence[tuple[Chunk, int]], period_ns: int) -> np.ndarray:
    """(k, 3) jumps where a chunk replaced one that was not over: wrist in m, wrist in rad, joints in rad.

    A jump is the distance between two plans for one moment, that of the first target of the new chunk that was still
    to come. So it shows how well chunks agree, whatever the control loop does to blend them.

    Args:
        played: chunks as they were executed, each with the time from which on.
        period_ns: between two targets.
    """
    jumps = []
    for (old, _), (new, now_ns) in itertools.pairwise(played):
        if now_ns >= old.observed_ns + len(old.targets) * period_ns:
            continue
        index = (now_ns - new.observed_ns) // period_ns
        target, planned = new.targets[index], pose_at(old, new.observed_ns + (index + 1) * period_ns, period_ns)
        away = target - planned
        turn = difference(planned[3:WRIST], target[3:WRIST])
        jumps.append((np.linalg.norm(away[:3]), np.linalg.norm(turn), _rms(away[WRIST:])))
    return np.array(jumps, dtype=np.float64).reshape(-1, 3)


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=-1))
