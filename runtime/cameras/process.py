"""What runs inside a camera process: in, a camera's configuration; out, every frame in shared memory."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, EndOfStreamError, HardwareFaultError, VppEdgeError
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import (
    CAMERA_COUNTS,
    OPENING,
    RUNNING,
    CameraChannel,
    read_state,
    write_frame,
    write_note,
)
from vpp_edge.runtime.ipc.real_time import die_with_parent, leave_signals_to_parent
from vpp_edge.runtime.ipc.rings import Board, NewestSlot

SILENCE_NS = 180_000_000  # a camera that gives nothing new for so long, or two of its periods, is silent
SILENCES_TO_REOPEN = 5
SHORTEST_READ_NS = 1_000_000


@contextlib.contextmanager
def child_process(parent_pid: int, board: Board, note: NewestSlot) -> Iterator[None]:
    """The life of a child: dies with its parent, leaves signals to it, says in a note and its status what went wrong.

    Status 0: done; 1: failed and worth another try; 2: will never work as it was asked.
    """
    leave_signals_to_parent()
    die_with_parent(parent_pid)
    board["phase"], board["pid"] = OPENING, os.getpid()
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
        return config.open(lambda: read_state(states))
    from vpp_edge.runtime.cameras import open_camera

    try:
        return open_camera(config, lambda: read_state(states))
    except BadInputError as error:
        if not channel.board["delivered"]:
            raise
        # It has worked before, so it was asked for rightly and is worth another try: it may have left the bus.
        raise HardwareFaultError(str(error)) from error


def _publish_frames(camera: Any, channel: CameraChannel, orders: Board) -> None:
    board, silences, pace = channel.board, 0, _Pace(getattr(camera, "noisy", False))
    before, news_ns = board.as_dict(), time.monotonic_ns()
    while not orders["stopping"] and silences < SILENCES_TO_REOPEN:
        now_ns = board["heartbeat_ns"] = time.monotonic_ns()
        silence_ns = max(SILENCE_NS, 2 * pace.period_ns)
        if now_ns - news_ns >= (silences + 1) * silence_ns:
            silences += 1
            board.add("timeouts")
        frame = _next_frame(camera, channel.note, news_ns + (silences + 1) * silence_ns - now_ns)
        if frame is None:
            continue
        fresh = pace.add(frame)
        board["repeated"] = before["repeated"] + pace.repeated
        if not fresh:
            write_note(channel.note, f"camera {channel.name}: frozen, it gives frame {frame.number} again and again")
            continue
        silences, news_ns = 0, time.monotonic_ns()
        write_frame(channel.frames, frame)
        board["height"], board["width"] = frame.image.shape[:2]
        board.add("delivered")
        board["phase"], board["period_ns"] = RUNNING, pace.period_ns
        for field in CAMERA_COUNTS:
            board[field] = before[field] + getattr(camera.statistics, field)
    if not orders["stopping"]:
        raise HardwareFaultError(f"camera {channel.name}: nothing new {silences} times in a row")


def _next_frame(camera: Any, note: NewestSlot, timeout_ns: int) -> Frame | None:
    """What the camera gives next, None when it gives nothing in time. Raises EndOfStreamError."""
    try:
        return camera.read(max(timeout_ns, SHORTEST_READ_NS))
    except EndOfStreamError:
        raise
    except HardwareFaultError as error:
        write_note(note, str(error))
        return None


class _Pace:
    """How far apart a camera's frames really are, on average over the last ten or so, and which came again.

    Args:
        noisy: whether two images are never the same, as of every real sensor; the same one again is a frozen one then.
            A simulated scene in which nothing moves looks the same without being frozen.

    Attributes:
        period_ns: 0 while it is not known.
        repeated: how many frames came again.
    """

    def __init__(self, noisy: bool) -> None:
        self._noisy, self._last = noisy, Frame(np.zeros((0, 0, 3), np.uint8), -1, 0)
        self.period_ns = self.repeated = 0

    def add(self, frame: Frame) -> bool:
        """Takes a frame; whether it is a new one."""
        last = self._last
        if frame.number == last.number or (self._noisy and np.array_equal(frame.image, last.image)):
            self.repeated += 1
            return False
        self._last = frame
        if frame.number > last.number >= 0:
            period_ns = (frame.stamp_ns - last.stamp_ns) / (frame.number - last.number)
            self.period_ns = max(0, int(0.9 * self.period_ns + 0.1 * period_ns if self.period_ns else period_ns))
        return True
