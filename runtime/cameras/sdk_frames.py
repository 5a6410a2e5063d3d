"""Converts the frames that the SDK passes to its callback into `Frame`s in an inbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, HardwareFaultError, VppEdgeError
from vpp_edge.runtime.cameras.inbox import Inbox
from vpp_edge.runtime.interfaces import Frame

Stamp = Callable[[float, int, int], int]


class SdkReceiver:
    """The callback for `start`. Copies every colour frame, because the SDK has only few buffers.

    Args:
        rs: the module pyrealsense2.
        stamp: returns monotonic nanoseconds from (timestamp in ms, arrival in monotonic ns, frame number).
        renumber: returns the frame number to use, from the device's.
    """

    def __init__(
        self, rs: Any, name: str, inbox: Inbox, stamp: Stamp, *, renumber: Callable[[int], int] = lambda number: number
    ) -> None:
        self._rs, self._name, self._inbox = rs, name, inbox
        self._stamp, self._renumber = stamp, renumber

    def __call__(self, frame: Any) -> None:
        """Called by a thread of the SDK; no exception may escape into it."""
        arrival_ns = time.monotonic_ns()
        try:
            if frame.is_frameset():
                frame = frame.as_frameset().get_color_frame()
            if not frame or frame.get_profile().stream_type() != self._rs.stream.color:
                return
            number = frame.get_frame_number()
            stamp_ns = self._stamp(frame.get_timestamp(), arrival_ns, number)
            self._inbox.put(Frame(self._image(frame), self._renumber(number), stamp_ns))
        except VppEdgeError as error:
            self._inbox.end(error)
        except Exception as error:  # noqa: BLE001 - must reach the reader; in the SDK it would end the process
            self._inbox.end(HardwareFaultError(f"camera {self._name}: {type(error).__name__}: {error}"))

    def _image(self, frame: Any) -> np.ndarray:
        """(height, width, 3) uint8 RGB, a copy."""
        encoding, formats = frame.get_profile().format(), self._rs.format
        if encoding not in (formats.rgb8, formats.bgr8):
            raise BadInputError(
                f"camera {self._name}: colour frames are {encoding}; expected rgb8 or bgr8; record in one of these"
            )
        image = np.asanyarray(frame.get_data())
        return np.array(image if encoding == formats.rgb8 else image[:, :, ::-1], order="C")
