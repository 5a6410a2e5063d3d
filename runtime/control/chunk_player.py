"""The chunk being executed: in, T targets stamped with their observation; out, one pose for any moment in between.

Target i of a chunk is due (i + 1) periods after the observation; the state that was observed is due at the
observation itself, so that a chunk is a path through T + 1 poses: linear for positions and joints, slerp for the
wrist. A new chunk takes over from whatever is being commanded: the mismatch in position and speed fades out over
`blend_ns` along a cubic, so that the output and its first derivative are continuous at the seam (the turning speed of
the wrist to first order in the mismatch).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.scalar_rotation import difference, normalized, slerp, turned

WRIST = 7  # xyz and quaternion come before the joints in every pose


@dataclass(frozen=True)
class Chunk:
    """T targets of one inference.

    Attributes:
        targets: (T, 7 + J) float64, in the layout of HandState.vector.
        anchor: (7 + J,) float64, the state that the policy saw.
        observed_ns: monotonic time of that state.
        request: number of the inference, growing; `episode`: which stretch of motion it belongs to.
    """

    targets: np.ndarray
    anchor: np.ndarray
    observed_ns: int
    request: int = 0
    episode: int = 0


def chunk_fault(chunk: Chunk, horizon: int, dims: int) -> str | None:
    """Why a chunk must not be executed at all, or None: wrong shape, NaN or Inf, no rotation."""
    if chunk.targets.shape != (horizon, dims) or chunk.anchor.shape != (dims,):
        return f"targets {chunk.targets.shape} and anchor {chunk.anchor.shape}, expected ({horizon}, {dims})"
    if not (np.isfinite(chunk.targets).all() and np.isfinite(chunk.anchor).all()):
        return "NaN or Inf in the targets"
    lengths = np.linalg.norm(np.vstack([chunk.anchor, chunk.targets])[:, 3:WRIST], axis=1)
    if not ((lengths > 0.9) & (lengths < 1.1)).all():
        return f"quaternions of length {lengths.min():.3f} to {lengths.max():.3f}, expected 1"
    return None


def chunk_to_play(chunk: Chunk, now_ns: int, resting_since_ns: int) -> Chunk:
    """The chunk as it is played from `now_ns` on: later than it was meant, where the hand has rested all the time.

    Nothing has moved since the observation then, so every action is still to be done. This is how a policy slower than
    its chunks moves the hand at all: stop and go.
    """
    rested = resting_since_ns <= chunk.observed_ns <= now_ns
    return replace(chunk, observed_ns=now_ns) if rested else chunk


def pose_at(chunk: Chunk, at_ns: int, period_ns: int) -> np.ndarray:
    """(7 + J,) where a chunk wants the hand at a moment; its first or last pose before and after its time."""
    knots = np.vstack([chunk.anchor, chunk.targets])
    place = min(max((at_ns - chunk.observed_ns) / period_ns, 0.0), len(chunk.targets))
    index = min(int(place), len(chunk.targets) - 1)
    share = place - index
    pose = (1 - share) * knots[index] + share * knots[index + 1]
    pose[3:WRIST] = slerp(knots[index, 3:WRIST], knots[index + 1, 3:WRIST], share)
    return pose


class ChunkPlayer:
    """Plays one chunk and hands over to the next.

    Args:
        horizon: T; `dims`: 7 + J; `period_ns`: time between two targets.
        blend_ns: how long the seam to a new chunk takes; one period unless given.
    """

    def __init__(self, horizon: int, dims: int, period_ns: int, blend_ns: int | None = None) -> None:
        if horizon < 1 or dims < WRIST or period_ns < 1:
            raise BadInputError(f"chunk player: horizon {horizon}, dims {dims}, period {period_ns} ns make no chunk")
        self.period_ns = period_ns
        self._blend_ns = blend_ns or period_ns
        self._knots = np.zeros((horizon + 1, dims))
        self._slopes = np.zeros((horizon, dims))  # per ns; the quaternion's columns are unused
        self._start_ns = 0
        self._end_ns = -1
        self._seam_ns = 0
        self._offset = np.zeros(dims)
        self._offset_speed = np.zeros(dims)  # per blend
        self._turn, self._turn_speed = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        self._scratch = np.zeros(dims)

    def accept(self, chunk: Chunk, now_ns: int, pose: np.ndarray, speed: np.ndarray) -> int:
        """Takes over at `now_ns` from a commanded `pose` (7 + J,) that moves at `speed` (6 + J,).

        Args:
            speed: m/s, then rad/s of the wrist in its own frame, then rad/s of the joints.

        Returns:
            How many targets were dropped because their time has passed; -1 when all of them, and then nothing changes.
        """
        horizon = len(self._slopes)
        passed = max(0, (now_ns - chunk.observed_ns) // self.period_ns)
        if passed >= horizon:
            return -1
        self._knots[0] = chunk.anchor
        self._knots[1:] = chunk.targets
        np.subtract(self._knots[1:], self._knots[:-1], out=self._slopes)
        self._slopes /= self.period_ns
        self._start_ns = chunk.observed_ns
        self._end_ns = chunk.observed_ns + horizon * self.period_ns
        self._set_seam(max(now_ns, chunk.observed_ns), pose, speed)
        return int(passed)

    def _set_seam(self, now_ns: int, pose: np.ndarray, speed: np.ndarray) -> None:
        self._seam_ns = now_ns
        index, elapsed_ns = self._place(now_ns)
        path = self._knots[index] + elapsed_ns * self._slopes[index]
        path_turn = difference(self._knots[index, 3:WRIST], self._knots[index + 1, 3:WRIST])
        orientation = slerp(self._knots[index, 3:WRIST], self._knots[index + 1, 3:WRIST], elapsed_ns / self.period_ns)
        np.subtract(pose, path, out=self._offset)
        per_second = 1e9 / self._blend_ns
        self._offset_speed[:3] = speed[:3] / per_second - self._slopes[index, :3] * self._blend_ns
        self._offset_speed[WRIST:] = speed[6:] / per_second - self._slopes[index, WRIST:] * self._blend_ns
        self._turn = difference(orientation, normalized(pose[3:WRIST]))
        ratio = self._blend_ns / self.period_ns
        x, y, z = (float(speed[3 + i]) / per_second - path_turn[i] * ratio for i in range(3))
        self._turn_speed = (x, y, z)

    def _place(self, now_ns: int) -> tuple[int, int]:
        elapsed_ns = max(0, now_ns - self._start_ns)
        index = min(elapsed_ns // self.period_ns, len(self._slopes) - 1)
        return index, min(elapsed_ns - index * self.period_ns, self.period_ns)

    def remaining_ns(self, now_ns: int) -> int:
        """Time until the last target is due; negative once the chunk is exhausted."""
        return self._end_ns - now_ns

    def clear(self) -> None:
        """Forgets the chunk: `sample` returns False until the next one."""
        self._end_ns = -1

    def sample(self, now_ns: int, out: np.ndarray) -> bool:
        """Writes the pose for `now_ns` to `out`, (7 + J,) float64; False (nothing written) without a live chunk."""
        if now_ns > self._end_ns:
            return False
        index, elapsed_ns = self._place(now_ns)
        np.multiply(self._slopes[index], elapsed_ns, out=out)
        out += self._knots[index]
        orientation = slerp(self._knots[index, 3:WRIST], self._knots[index + 1, 3:WRIST], elapsed_ns / self.period_ns)
        s = (now_ns - self._seam_ns) / self._blend_ns
        if s < 1:
            fade, slip = 1 - s * s * (3 - 2 * s), s * (1 - s) * (1 - s)  # Hermite: value 1 -> 0, slope 1 -> 0
            np.multiply(self._offset, fade, out=self._scratch)
            out += self._scratch
            np.multiply(self._offset_speed, slip, out=self._scratch)
            out += self._scratch
            x, y, z = (self._turn[i] * fade + self._turn_speed[i] * slip for i in range(3))
            orientation = turned(orientation, (x, y, z))
        out[3:WRIST] = orientation
        return True
