"""What the policy looks at: in, the newest frames of all cameras; out, one frame per view, of one moment, or nothing.

Nothing, where a view has stopped, is too old, or was taken at another moment than the others: the hand then goes on
with the chunk that it has, and holds at its end.
"""

from __future__ import annotations

import time

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import Channels, read_frame, read_frame_at
from vpp_edge.runtime.ipc.rings import Message

STALE_PERIODS = 2  # no new chunk from a view older than this many frame periods
APART_PERIODS = 1  # nor from views that are further apart than this
FIRST_PERIOD_NS = 100_000_000  # until a camera has shown its own


class Views:
    """The cameras of a run, as the policy process sees them.

    Args:
        nominal_periods_ns: per view, the time between two frames that was asked for; 0: the camera's own.
    """

    def __init__(self, channels: Channels, nominal_periods_ns: tuple[int, ...]) -> None:
        self._cameras, self._board, self._nominal_ns = channels.cameras, channels.policy, nominal_periods_ns
        self._seen = [0] * len(channels.cameras)
        self._looked_at: list[int] = []  # what had come when there was nothing new among what belongs together
        self._waiting_for = ""  # the field in which the present wait has been counted

    def look(self) -> list[Message[Frame]] | None:
        """One frame of every view, at least one of them not yet `taken`; None while there are none to act on."""
        come = [camera.frames.sequence for camera in self._cameras]
        if come == self._looked_at or all(number <= seen for number, seen in zip(come, self._seen, strict=True)):
            return None
        newest = [message for camera in self._cameras if (message := read_frame(camera.frames)) is not None]
        if len(newest) < len(self._cameras):
            return None
        now_ns, periods_ns = time.monotonic_ns(), [self._period_ns(i) for i in range(len(newest))]
        if any(now_ns - m.stamp_ns > STALE_PERIODS * p for m, p in zip(newest, periods_ns, strict=True)):
            self._wait("stale_waits")
            return None
        # A view may be late by the time that its camera and its USB bus take: the others then look back to its moment.
        moment_ns = min(message.stamp_ns for message in newest)
        apart_ns = APART_PERIODS * max(periods_ns)
        views = [
            message if message.stamp_ns - moment_ns <= apart_ns else self._view_at(i, moment_ns, message)
            for i, message in enumerate(newest)
        ]
        stamps_ns = [message.stamp_ns for message in views]
        if max(stamps_ns) - min(stamps_ns) > apart_ns:
            self._wait("apart_waits")
            return None
        self._waiting_for, self._board["spread_ns"] = "", max(stamps_ns) - min(stamps_ns)
        if all(message.sequence <= seen for message, seen in zip(views, self._seen, strict=True)):
            self._looked_at = come
            return None
        return views

    def taken(self, views: list[Message[Frame]]) -> None:
        """Notes what was acted on."""
        for i, (camera, message) in enumerate(zip(self._cameras, views, strict=True)):
            if message.sequence > self._seen[i]:
                self._board.add(f"used_{camera.name}")
            self._seen[i] = max(self._seen[i], message.sequence)

    def _period_ns(self, i: int) -> int:
        return max(self._nominal_ns[i], self._cameras[i].board["period_ns"]) or FIRST_PERIOD_NS

    def _view_at(self, i: int, moment_ns: int, newest: Message[Frame]) -> Message[Frame]:
        """The frame of view i nearest to a moment."""
        return read_frame_at(self._cameras[i].frames, moment_ns) or newest

    def _wait(self, field: str) -> None:
        """Counts a wait once, however often it is looked for its end."""
        if self._waiting_for != field:
            self._board.add(field)
        self._waiting_for = field
