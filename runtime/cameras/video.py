"""Cameras without hardware and without the SDK: in, a FrameSource; out, its images as frames, in real time."""

from __future__ import annotations

import numpy as np

from vpp_edge.runtime.cameras.feeder import Feeder
from vpp_edge.runtime.cameras.inbox import CameraStatistics, Inbox
from vpp_edge.runtime.cameras.sources import FrameSource
from vpp_edge.runtime.interfaces import Frame


class VideoCamera:
    """Shows a source from opening to closing. Context manager.

    Args:
        name: of the camera.
        source: what it sees; the camera closes it.
    """

    def __init__(self, name: str, source: FrameSource) -> None:
        self.name = name
        self._inbox = Inbox(name)
        self._feeder = Feeder(name, source, self._deliver, self._inbox)
        self._feeder.begin()

    def _deliver(self, image: np.ndarray, number: int, stamp_ns: int) -> None:
        self._inbox.put(Frame(image, number, stamp_ns))

    def read(self, timeout_ns: int) -> Frame:
        """The next frame not yet read.

        Raises:
            HardwareFaultError: none came within `timeout_ns`, or the camera is closed.
            EndOfStreamError: the source has ended.
        """
        return self._inbox.take(timeout_ns)

    @property
    def statistics(self) -> CameraStatistics:
        return self._inbox.statistics

    def close(self) -> None:
        self._feeder.stop()
        self._inbox.close()

    def __enter__(self) -> VideoCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
