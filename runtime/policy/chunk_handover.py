"""How one chunk hands over to the next: what the policy infers from observation to observation in, chunks to play out.

The modes are those of `handover_modes`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from vpp_edge.runtime.control.chunk_player import chunk_from, pose_at
from vpp_edge.runtime.interfaces import Chunk
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.policy.handover_modes import ENSEMBLE, RTC, SYNCHRONOUS, checked_mode
from vpp_edge.spec.pose import PoseLayout

AGE_DECAY = 0.01  # weight exp(-0.01 i) of the i-th oldest chunk, ACT's value
KEPT = 16  # chunks


class ChunkHandover:
    """The recent chunks of a run, and what they mean for the next one.

    Args:
        mode: one of MODES.
        period_ns: between two targets of a chunk.
    """

    def __init__(self, mode: str, period_ns: int) -> None:
        self.mode, self._period_ns = checked_mode(mode), period_ns
        self._inferred: deque[Chunk] = deque(maxlen=KEPT)

    def may_observe(self, loop_state: LoopState, now_ns: int) -> bool:
        """Whether the next observation is due: at any time, or in mode `synchronous` once the hand rests."""
        return self.mode != SYNCHRONOUS or loop_state.rests_since(now_ns)

    def chunk_to_continue(self, loop_state: LoopState) -> Chunk | None:
        """The chunk that the next one has to continue, at the time at which it is played; None without one."""
        if self.mode != RTC:
            return None
        for chunk in reversed(self._inferred):
            if chunk.episode != loop_state.episode:
                return None
            if chunk.request > loop_state.request:  # on its way to the loop, which has not judged it yet
                return chunk
            if chunk.request == loop_state.playing:
                return chunk_from(chunk, loop_state.playing_from_ns)
        return None

    def chunk_to_play(self, inferred: Chunk, loop_state: LoopState) -> Chunk:
        """The chunk to send to the control loop.

        Args:
            inferred: what the policy computed.
            loop_state: of its observation.
        """
        rested = loop_state.rests_since(inferred.observed_ns)  # earlier chunks have had no effect then
        if self._inferred and (rested or self._inferred[-1].episode != inferred.episode):
            self._inferred.clear()
        if not np.isfinite(inferred.targets).all():  # for the loop to reject and count
            return inferred
        self._inferred.append(inferred)
        return self._averaged(inferred) if self.mode == ENSEMBLE else inferred

    def _averaged(self, newest: Chunk) -> Chunk:
        """`newest` averaged with earlier chunks that cover the same moments; quaternions at the sign of the newest."""
        targets, quaternion = newest.targets.copy(), PoseLayout.QUATERNION
        for i in range(len(targets)):
            due_ns = newest.observed_ns + (i + 1) * self._period_ns
            earlier = [c for c in self._inferred if c is not newest and due_ns <= c.end_ns(self._period_ns)]
            poses = np.stack([pose_at(chunk, due_ns, self._period_ns) for chunk in (*earlier, newest)])
            poses[:, quaternion] *= np.where(poses[:, quaternion] @ poses[-1, quaternion] < 0, -1, 1)[:, None]
            targets[i] = np.average(poses, axis=0, weights=np.exp(-AGE_DECAY * np.arange(len(poses))))
            targets[i, quaternion] /= np.linalg.norm(targets[i, quaternion])
        return replace(newest, targets=targets)
