"""The chunk being executed: T targets stamped with their observation in, one pose for any moment in between out.

Target i of a chunk is due (i + 1) periods after the observation. The observed pose is due at the observation itself, so
a chunk is a path through T + 1 poses: linear for positions and joints, slerp for the wrist's orientation. A new chunk
takes over from whatever is being commanded: the mismatch in position and speed fades out over `blend_ns` along a cubic,
so that the output and its first derivative are continuous at the seam (the wrist's angular velocity to first order in
the mismatch).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.scalar_rotation import Quaternion, difference, normalized, slerp, turned
from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.spec.pose import PoseLayout, TwistLayout

QUATERNION, JOINTS = PoseLayout.QUATERNION, PoseLayout.JOINTS


def chunk_fault(chunk: Chunk, horizon: int, dims: int) -> str | None:
    """Why a chunk must not be executed at all, or None: wrong shape, NaN or Inf, no rotation."""
    if chunk.targets.shape != (horizon, dims) or chunk.anchor.shape != (dims,):
        return f"targets {chunk.targets.shape} and anchor {chunk.anchor.shape}, expected ({horizon}, {dims})"
    if chunk.image_age_ns < 0:  # it would be played for longer than its images allow
        return f"images {-chunk.image_age_ns} ns newer than the pose that the targets start from"
    if not (np.isfinite(chunk.targets).all() and np.isfinite(chunk.anchor).all()):
        return "NaN or Inf in the targets"
    lengths = np.linalg.norm(np.vstack([chunk.anchor, chunk.targets])[:, QUATERNION], axis=1)
    if not ((lengths > 0.9) & (lengths < 1.1)).all():
        return f"quaternions of length {lengths.min():.3f} to {lengths.max():.3f}, expected 1"
    return None


def chunk_to_play(chunk: Chunk, now_ns: int, loop_state: LoopState) -> Chunk:
    """The chunk as it is played from `now_ns` on: later than intended, if the hand has rested since its observation.

    Nothing has moved since its images then, so all its actions are still to be done. This is how a policy that is
    slower than its chunks moves the hand at all: stop and go.
    """
    rested = chunk.observed_ns <= now_ns and loop_state.rests_since(chunk.seen_ns)
    return chunk_from(chunk, now_ns) if rested else chunk


def chunk_from(chunk: Chunk, from_ns: int) -> Chunk:
    """The chunk with its targets counted from another moment, whole: it is played later because nothing has moved."""
    return chunk if from_ns == chunk.observed_ns else replace(chunk, observed_ns=from_ns, image_age_ns=0)


def pose_at(chunk: Chunk, at_ns: int, period_ns: int) -> np.ndarray:
    """(7 + J,) where a chunk wants the hand at a moment; its first or last pose before and after its time."""
    knots = np.vstack([chunk.anchor, chunk.targets])
    place = min(max((at_ns - chunk.observed_ns) / period_ns, 0.0), len(chunk.targets))
    index = min(int(place), len(chunk.targets) - 1)
    share = place - index
    pose = (1 - share) * knots[index] + share * knots[index + 1]
    pose[QUATERNION] = slerp(knots[index, QUATERNION], knots[index + 1, QUATERNION], share)
    return pose


class ChunkPlayer:
    """Plays one chunk and hands over to the next.

    Args:
        horizon: T.
        dims: length of a pose, 7 + J.
        period_ns: time between two targets.
        blend_ns: how long the seam to a new chunk takes; one period unless given.
    """

    def __init__(self, horizon: int, dims: int, period_ns: int, blend_ns: int | None = None) -> None:
        if horizon < 1 or dims < PoseLayout.WRIST_DIMS or period_ns < 1:
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

    def accept(self, chunk: Chunk, now_ns: int, pose: np.ndarray, speed: np.ndarray) -> int | None:
        """Takes over at `now_ns` from a commanded `pose` (7 + J,) that moves at `speed` (6 + J,), a TwistLayout.

        Returns:
            How many targets are skipped because their time has passed; None if none is left. Nothing changes then.
        """
        if now_ns >= (end_ns := chunk.end_ns(self.period_ns)):
            return None
        passed = max(0, (now_ns - chunk.observed_ns) // self.period_ns)
        self._knots[0] = chunk.anchor
        self._knots[1:] = chunk.targets
        np.subtract(self._knots[1:], self._knots[:-1], out=self._slopes)
        self._slopes /= self.period_ns
        self._start_ns = chunk.observed_ns
        self._end_ns = end_ns
        self._set_seam(max(now_ns, chunk.observed_ns), pose, speed)
        return int(passed)

    def _set_seam(self, now_ns: int, pose: np.ndarray, speed: np.ndarray) -> None:
        """Notes how far pose and speed are from the chunk's path at `now_ns`, to fade that out from there on."""
        self._seam_ns = now_ns
        index, elapsed_ns = self._place(now_ns)
        path = self._knots[index] + elapsed_ns * self._slopes[index]
        np.subtract(pose, path, out=self._offset)
        per_second = 1e9 / self._blend_ns
        for pose_part, speed_part in (
            (PoseLayout.POSITION, TwistLayout.LINEAR),
            (PoseLayout.JOINTS, TwistLayout.JOINTS),
        ):
            path_speed = self._slopes[index, pose_part] * self._blend_ns
            self._offset_speed[pose_part] = speed[speed_part] / per_second - path_speed
        self._turn = difference(self._orientation(index, elapsed_ns), normalized(pose[QUATERNION]))
        path_turn = difference(self._knots[index, QUATERNION], self._knots[index + 1, QUATERNION])
        ratio = self._blend_ns / self.period_ns
        angular = speed[TwistLayout.ANGULAR]
        x, y, z = (float(angular[i]) / per_second - path_turn[i] * ratio for i in range(3))
        self._turn_speed = (x, y, z)

    def _orientation(self, index: int, elapsed_ns: int) -> Quaternion:
        """Of the chunk's path, `elapsed_ns` after knot `index`."""
        knots = self._knots
        return slerp(knots[index, QUATERNION], knots[index + 1, QUATERNION], elapsed_ns / self.period_ns)

    def _place(self, now_ns: int) -> tuple[int, int]:
        """Index of the last knot before `now_ns`, and the time since then, at most one period."""
        elapsed_ns = max(0, now_ns - self._start_ns)
        index = min(elapsed_ns // self.period_ns, len(self._slopes) - 1)
        return index, min(elapsed_ns - index * self.period_ns, self.period_ns)

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
        orientation = self._orientation(index, elapsed_ns)
        s = (now_ns - self._seam_ns) / self._blend_ns
        if s < 1:
            fade, slip = 1 - s * s * (3 - 2 * s), s * (1 - s) * (1 - s)  # Hermite: value 1 -> 0, slope 1 -> 0
            np.multiply(self._offset, fade, out=self._scratch)
            out += self._scratch
            np.multiply(self._offset_speed, slip, out=self._scratch)
            out += self._scratch
            x, y, z = (self._turn[i] * fade + self._turn_speed[i] * slip for i in range(3))
            orientation = turned(orientation, (x, y, z))
        out[QUATERNION] = orientation
        return True
