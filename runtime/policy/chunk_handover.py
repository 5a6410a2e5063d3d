"""How one chunk follows another: in, what a policy wants from observation to observation; out, chunks to play.

Four ways, of which the first is for robots and the others are what it is compared with.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from vpp_edge.runtime.control.chunk_player import WRIST, Chunk, pose_at
from vpp_edge.runtime.control.contract import Stand
from vpp_edge.runtime.policy.handover_modes import ENSEMBLE, RTC, SYNCHRONOUS, checked_mode

OLDEST_COUNTS = 0.01  # weight exp(-0.01 i) of the i-th oldest chunk, ACT's value
KEPT = 16  # chunks


class Chunking:
    """The chunks of a run so far, and what that means for the next one.

    Args:
        mode: one of MODES.
        period_ns: between two targets of a chunk.
    """

    def __init__(self, mode: str, period_ns: int) -> None:
        self.mode, self._period_ns = checked_mode(mode), period_ns
        self._proposed: deque[Chunk] = deque(maxlen=KEPT)

    def may_observe(self, stand: Stand, now_ns: int) -> bool:
        """Whether the next observation is due: at any time, or once the hand rests."""
        return self.mode != SYNCHRONOUS or stand.resting_since_ns <= now_ns

    def plan(self, stand: Stand) -> Chunk | None:
        """The chunk that the next one has to continue, at the time at which it is played; None without one."""
        if self.mode != RTC:
            return None
        for chunk in reversed(self._proposed):
            if chunk.episode != stand.episode:
                return None
            if chunk.request > stand.request:  # on its way to the loop, which has not judged it yet
                return chunk
            if chunk.request == stand.playing:
                return replace(chunk, observed_ns=stand.playing_from_ns)
        return None

    def next_chunk(self, proposed: Chunk, stand: Stand) -> Chunk:
        """The chunk to play.

        Args:
            proposed: what the policy wants.
            stand: where the loop stood at its observation.
        """
        if self._proposed and (self._proposed[-1].episode != proposed.episode or _rested(stand, proposed)):
            self._proposed.clear()
        if not np.isfinite(proposed.targets).all():  # for the loop to reject and count
            return proposed
        self._proposed.append(proposed)
        return self._averaged(proposed) if self.mode == ENSEMBLE else proposed

    def _averaged(self, newest: Chunk) -> Chunk:
        targets = newest.targets.copy()
        for i in range(len(targets)):
            due_ns = newest.observed_ns + (i + 1) * self._period_ns
            known = [chunk for chunk in self._proposed if due_ns <= self._end_ns(chunk)]
            poses = np.stack([pose_at(chunk, due_ns, self._period_ns) for chunk in known])
            poses[:, 3:WRIST] *= np.where(poses[:, 3:WRIST] @ poses[-1, 3:WRIST] < 0, -1, 1)[:, None]
            targets[i] = np.average(poses, axis=0, weights=np.exp(-OLDEST_COUNTS * np.arange(len(poses))))
            targets[i, 3:WRIST] /= np.linalg.norm(targets[i, 3:WRIST])
        return replace(newest, targets=targets)

    def _end_ns(self, chunk: Chunk) -> int:
        return chunk.observed_ns + len(chunk.targets) * self._period_ns


def _rested(stand: Stand, proposed: Chunk) -> bool:
    """Whether the hand stood still at the observation: chunks from before have come to nothing."""
    return stand.resting_since_ns <= proposed.observed_ns
