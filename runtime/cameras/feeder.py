"""Plays a FrameSource in real time, in a thread that delivers each image when it is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from vpp_edge.errors import HardwareFaultError, VppEdgeError
from vpp_edge.runtime.cameras.inbox import Inbox
from vpp_edge.runtime.cameras.sources import FrameSource

CATCH_UP_IMAGES = 2  # when this many more are due, images are skipped, as a real camera would
OPEN_S = 10.0  # if a source takes longer to open, its reader waits
END_S = 2.0  # longer than rendering an image of the simulator takes

Deliver = Callable[[np.ndarray, int, int], None]


class Feeder(threading.Thread):
    """Delivers every image when its source says that it is due, on deadlines that do not drift.

    Args:
        source: what to play; closed when the thread ends.
        deliver: called with the image, its number (n + 1; skipped images leave a gap) and its monotonic time in
            nanoseconds.
        inbox: receives the error or the end of the source.
    """

    def __init__(self, name: str, source: FrameSource, deliver: Deliver, inbox: Inbox) -> None:
        super().__init__(name=f"feeder of {name}", daemon=True)
        self._camera, self._source, self._deliver, self._inbox = name, source, deliver, inbox
        self._ready, self._stopping = threading.Event(), threading.Event()

    def begin(self) -> None:
        """Starts the thread and returns once the source is open or has failed; `inbox` passes a failure on."""
        self.start()
        self._ready.wait(OPEN_S)

    def stop(self) -> None:
        """Ends the thread. May be called twice."""
        self._stopping.set()
        if self.is_alive():
            self.join(END_S)

    def run(self) -> None:
        try:
            self._source.open()
            self._ready.set()
            if self._play():
                self._inbox.end_of_stream()
        except VppEdgeError as error:
            self._inbox.end(error)
        except Exception as error:  # noqa: BLE001 - an error of the source must reach the reader
            self._inbox.end(HardwareFaultError(f"camera {self._camera}: {type(error).__name__}: {error}"))
        finally:
            self._ready.set()
            self._source.close()

    def _play(self) -> bool:
        """True when the source has ended, False when it was stopped."""
        started_ns, moment = time.monotonic_ns(), 0

        def late_ns(moment: int) -> int:
            return time.monotonic_ns() - started_ns - round(self._source.seconds(moment) * 1e9)

        while True:
            if late_ns(moment + CATCH_UP_IMAGES) > 0:
                while late_ns(moment + 1) >= 0:
                    moment += 1
            if self._stopping.wait(max(0, -late_ns(moment)) / 1e9):
                return False
            taken_ns = time.monotonic_ns()
            image = self._source.image(moment)
            if image is None:
                return True
            self._deliver(image, moment + 1, taken_ns)
            moment += 1
