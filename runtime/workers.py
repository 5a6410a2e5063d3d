"""What runs inside a camera process: in, a camera's configuration; out, every frame in shared memory."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

from vpp_edge.errors import BadInputError, EndOfStreamError, HardwareFaultError, VppEdgeError
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.messages import (
    CAMERA_COUNTS,
    OPENING,
    RUNNING,
    CameraChannel,
    read_state,
    write_frame,
    write_note,
)
from vpp_edge.runtime.realtime import die_with_parent, leave_signals_to_parent
from vpp_edge.runtime.rings import Board, NewestSlot

READ_TIMEOUT_NS = 200_000_000  # a camera that gives nothing is noticed in this time
TIMEOUTS_TO_REOPEN = 5


@contextlib.contextmanager
def child_process(parent_pid: int, board: Board, note: NewestSlot) -> Iterator[None]:
    """The life of a child: dies with its parent, leaves signals to it, says in a note and its status what went wrong.

    Status 0: done; 1: failed and worth another try; 2: will never work as it was asked.
    """
    leave_signals_to_parent()
    die_with_parent(parent_pid)
    board["phase"] = OPENING
    board["heartbeat_ns"] = time.monotonic_ns()
    try:
        yield
    except VppEdgeError as error:
        write_note(note, str(error))
        sys.exit(error.exit_status)
    except Exception as error:  # noqa: BLE001 - the note is the only way in which a child can tell its parent
        write_note(note, f"{type(error).__name__}: {error}\n{traceback.format_exc()[-1500:]}")
        sys.exit(1)


def run_camera(parent_pid: int, config: Any, channel: CameraChannel, orders: Board, states: NewestSlot) -> None:
    """Body of a camera process: opens the camera, publishes every frame, counts what the device lost."""
    with child_process(parent_pid, channel.board, channel.note), _opened(config, channel, states) as camera:
        try:
            _publish_frames(camera, channel, orders)
        except EndOfStreamError as error:  # ends with status 0: nothing went wrong
            write_note(channel.note, str(error))


def _opened(config: Any, channel: CameraChannel, states: NewestSlot) -> Any:
    """The camera of a CameraConfig, or of a configuration that opens itself."""
    if hasattr(config, "open"):
        return config.open()
    from vpp_edge.runtime.cameras import open_camera

    try:
        return open_camera(config, lambda: read_state(states))
    except BadInputError as error:
        if not channel.board["delivered"]:
            raise
        # It has worked before, so it was asked for rightly and is worth another try: it may have left the bus.
        raise HardwareFaultError(str(error)) from error


def _publish_frames(camera: Any, channel: CameraChannel, orders: Board) -> None:
    board, timeouts, pace = channel.board, 0, _Pace()
    before = board.as_dict()
    while not orders["stopping"] and timeouts < TIMEOUTS_TO_REOPEN:
        board["heartbeat_ns"] = time.monotonic_ns()
        try:
            frame: Frame = camera.read(READ_TIMEOUT_NS)
        except EndOfStreamError:
            raise
        except HardwareFaultError as error:
            timeouts += 1
            board.add("timeouts")
            write_note(channel.note, str(error))
            continue
        timeouts = 0
        write_frame(channel.frames, frame)
        board["height"], board["width"] = frame.image.shape[:2]
        board.add("delivered")
        board["phase"] = RUNNING
        board["period_ns"] = pace.add(frame)
        board["repeated"] = before["repeated"] + pace.repeated
        for field in CAMERA_COUNTS:
            board[field] = before[field] + getattr(camera.statistics, field)
    if not orders["stopping"]:
        raise HardwareFaultError(f"camera {channel.name}: no frame {timeouts} times in a row")


class _Pace:
    """How far apart a camera's frames really are, on average over the last ten or so, and how many came twice."""

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._period_ns = 0.0
        self.repeated = 0

    def add(self, frame: Frame) -> int:
        """Takes a frame; the period in ns, 0 while it is not known."""
        last, self._last = self._last, frame
        if last is not None and frame.number == last.number:
            self.repeated += 1
        if last is None or frame.number <= last.number:
            return int(self._period_ns)
        period_ns = (frame.stamp_ns - last.stamp_ns) / (frame.number - last.number)
        self._period_ns = 0.9 * self._period_ns + 0.1 * period_ns if self._period_ns else period_ns
        return max(0, int(self._period_ns))
