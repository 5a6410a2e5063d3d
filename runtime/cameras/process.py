"""The body of a camera process: opens one camera and publishes every frame in shared memory."""

from __future__ import annotations

import time

import numpy as np

from vpp_edge.errors import BadInputError, EndOfStreamError, HardwareFaultError
from vpp_edge.runtime.interfaces import Camera, CameraSource, Frame, NoisyCamera
from vpp_edge.runtime.ipc.channels import CameraChannel
from vpp_edge.runtime.ipc.child_body import child_body
from vpp_edge.runtime.ipc.codecs import read_state, write_frame, write_note
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot
from vpp_edge.wording import counted

SILENCE_NS = 180_000_000  # a camera without a new frame for this long and for two of its periods is silent
SILENCES_TO_REOPEN = 5
SHORTEST_READ_NS = 1_000_000
DEVICE_COUNTS = ("dropped", "overwritten")  # taken from the camera's own statistics


def run_camera(
    parent_pid: int, source: CameraSource, channel: CameraChannel, orders: Board, states: NewestSlot
) -> None:
    """Body of a camera process: opens the camera, publishes every frame, counts what the device lost."""
    with child_body(parent_pid, channel.board, channel.note), _opened(source, channel, states) as camera:
        try:
            _publish_frames(camera, channel, orders)
        except EndOfStreamError as error:  # ends with status 0: nothing went wrong
            write_note(channel.note, str(error))


def _opened(source: CameraSource, channel: CameraChannel, states: NewestSlot) -> Camera:
    try:
        return source.open(lambda: read_state(states))
    except BadInputError as error:
        if not channel.board["delivered"]:
            raise
        # It worked before, so the configuration is right; the camera may have left the bus. Worth another try.
        raise HardwareFaultError(str(error)) from error


def _publish_frames(camera: Camera, channel: CameraChannel, orders: Board) -> None:
    board, silences = channel.board, 0
    pace = _Pace(noisy=isinstance(camera, NoisyCamera) and camera.noisy)
    before, fresh_ns = board.as_dict(), time.monotonic_ns()
    while not orders["stopping"] and silences < SILENCES_TO_REOPEN:
        now_ns = board["heartbeat_ns"] = time.monotonic_ns()
        silence_ns = max(SILENCE_NS, 2 * pace.period_ns)
        if now_ns - fresh_ns >= (silences + 1) * silence_ns:
            silences += 1
            board.add("timeouts")
        frame = _next_frame(camera, channel.note, fresh_ns + (silences + 1) * silence_ns - now_ns)
        if frame is None:
            continue
        fresh = pace.add(frame)
        board["repeated"] = before["repeated"] + pace.repeated
        if not fresh:
            write_note(channel.note, f"camera {channel.name}: frozen, it keeps delivering frame {frame.number}")
            continue
        silences, fresh_ns = 0, time.monotonic_ns()
        write_frame(channel.frames, frame)
        board["height"], board["width"] = frame.image.shape[:2]
        board.add("delivered")
        board["phase"], board["period_ns"] = Phase.RUNNING, pace.period_ns
        for field in DEVICE_COUNTS:
            board[field] = before[field] + getattr(camera.statistics, field)
    if not orders["stopping"]:
        raise HardwareFaultError(f"camera {channel.name}: no new frame, {counted(silences, 'timeout')} in a row")


def _next_frame(camera: Camera, note: NewestSlot, timeout_ns: int) -> Frame | None:
    """The camera's next frame; None after the timeout. Raises EndOfStreamError."""
    try:
        return camera.read(max(timeout_ns, SHORTEST_READ_NS))
    except EndOfStreamError:
        raise
    except HardwareFaultError as error:
        write_note(note, str(error))
        return None


class _Pace:
    """The time between a camera's frames, averaged over about ten of them, and which frames are repeats.

    Args:
        noisy: no two images are equal, as with every real sensor, so that an equal image is a frozen one. Simulated
            images of a scene at rest are equal without being frozen.

    Attributes:
        period_ns: 0 while unknown.
        repeated: number of repeated frames.
    """

    def __init__(self, noisy: bool) -> None:
        self._noisy, self._last = noisy, Frame(np.zeros((0, 0, 3), np.uint8), -1, 0)
        self.period_ns = self.repeated = 0

    def add(self, frame: Frame) -> bool:
        """Updates with a frame; returns whether it is new."""
        last = self._last
        if frame.number == last.number or (self._noisy and np.array_equal(frame.image, last.image)):
            self.repeated += 1
            return False
        self._last = frame
        if frame.number > last.number >= 0:
            period_ns = (frame.stamp_ns - last.stamp_ns) / (frame.number - last.number)
            self.period_ns = max(0, int(0.9 * self.period_ns + 0.1 * period_ns if self.period_ns else period_ns))
        return True
