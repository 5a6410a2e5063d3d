"""Synchronized frames: from the newest frames of all cameras, one frame per view, all of the same moment, or none.

None where a view has stopped, is too old, or was taken at another moment than the others: the hand then continues with
the chunk that it has, and holds at its end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import read_frame, read_frame_at
from vpp_edge.runtime.ipc.rings.newest import Message

STALE_PERIODS = 2  # no new chunk from a view older than this many frame periods
APART_PERIODS = 1  # nor from views that are further apart than this
FIRST_PERIOD_NS = 100_000_000  # assumed until a camera's own period is known


class FrameSync:
    """The cameras of a run, as the policy process reads them.

    Args:
        nominal_periods_ns: per view, the requested time between two frames; 0: the camera's own.
    """

    def __init__(self, channels: Channels, nominal_periods_ns: tuple[int, ...]) -> None:
        self._cameras, self._board, self._nominal_ns = channels.cameras, channels.policy, nominal_periods_ns
        self._used = [0] * len(channels.cameras)  # sequence number of the last frame used, per view
        self._nothing_new: list[int] = []  # what had arrived when a synchronized set held nothing new
        self._waiting_for = ""  # the counter in which the present wait has been counted

    def latest(self) -> list[Message[Frame]] | None:
        """The newest synchronized frames, one per view, if at least one of them was not `mark_used` yet; else None."""
        arrived = [camera.frames.sequence for camera in self._cameras]
        if arrived == self._nothing_new or not self._is_new(arrived):
            return None
        newest = [message for camera in self._cameras if (message := read_frame(camera.frames)) is not None]
        if len(newest) < len(self._cameras):
            return None
        if self._any_stale([message.stamp_ns for message in newest]):
            self._count_wait("stale_waits")
            return None
        apart_ns = APART_PERIODS * max(self._period_ns(i) for i in range(len(newest)))
        frames = self._aligned(newest, apart_ns)
        stamps_ns = [message.stamp_ns for message in frames]
        spread_ns = max(stamps_ns) - min(stamps_ns)
        if spread_ns > apart_ns:
            self._count_wait("apart_waits")
            return None
        self._waiting_for, self._board["spread_ns"] = "", spread_ns
        if not self._is_new([message.sequence for message in frames]):
            self._nothing_new = arrived
            return None
        return frames

    def all_fresh(self) -> bool:
        """Whether every view still delivers: its newest frame is fresh enough for a look, used or not."""
        stamps_ns = [
            m.stamp_ns for camera in self._cameras if (m := camera.frames.read(lambda record: None)) is not None
        ]
        if len(stamps_ns) == len(self._cameras) and not self._any_stale(stamps_ns):
            return True
        self._count_wait("stale_waits")
        return False

    def _any_stale(self, stamps_ns: Sequence[int]) -> bool:
        now_ns = time.monotonic_ns()
        return any(now_ns - stamp_ns > STALE_PERIODS * self._period_ns(i) for i, stamp_ns in enumerate(stamps_ns))

    def mark_used(self, frames: list[Message[Frame]]) -> None:
        """Notes the frames that an inference was made from."""
        for i, (camera, message) in enumerate(zip(self._cameras, frames, strict=True)):
            if message.sequence > self._used[i]:
                self._board.add(f"used_{camera.name}")
            self._used[i] = max(self._used[i], message.sequence)

    def _is_new(self, sequences: list[int]) -> bool:
        return any(sequence > used for sequence, used in zip(sequences, self._used, strict=True))

    def _period_ns(self, i: int) -> int:
        return max(self._nominal_ns[i], self._cameras[i].board["period_ns"]) or FIRST_PERIOD_NS

    def _aligned(self, newest: list[Message[Frame]], apart_ns: int) -> list[Message[Frame]]:
        """The frames nearest to the moment of the slowest view.

        A view arrives late by what its camera and USB bus take; the others then look back to its moment.
        """
        moment_ns = min(message.stamp_ns for message in newest)
        return [
            message
            if message.stamp_ns - moment_ns <= apart_ns
            else read_frame_at(self._cameras[i].frames, moment_ns) or message
            for i, message in enumerate(newest)
        ]

    def _count_wait(self, counter: str) -> None:
        """Counts a wait once, however often `latest` is called until it ends."""
        if self._waiting_for != counter:
            self._board.add(counter)
        self._waiting_for = counter
