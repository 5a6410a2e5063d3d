"""Plays a FrameSource in real time without the RealSense SDK, as a camera without hardware."""

from __future__ import annotations

import numpy as np

from vpp_edge.runtime.cameras.feeder import Feeder
from vpp_edge.runtime.cameras.inbox import InboxCamera
from vpp_edge.runtime.cameras.sources import FrameSource
from vpp_edge.runtime.interfaces import Frame


class VideoCamera(InboxCamera):
    """Plays a source from opening to closing. Context manager.

    Args:
        name: of the camera.
        source: what it shows; the camera closes it.
    """

    def __init__(self, name: str, source: FrameSource) -> None:
        super().__init__(name)
        self._feeder = Feeder(name, source, self._deliver, self._inbox)
        self._feeder.begin()

    def _deliver(self, image: np.ndarray, number: int, stamp_ns: int) -> None:
        self._inbox.put(Frame(image, number, stamp_ns))

    def _release(self) -> None:
        self._feeder.stop()
