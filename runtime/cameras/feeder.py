"""Plays a source in real time: in, a FrameSource; out, a thread that hands on its images, each at its moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from vpp_edge.errors import HardwareFaultError, VppEdgeError
from vpp_edge.runtime.cameras.inbox import Inbox
from vpp_edge.runtime.cameras.sources import FrameSource

CATCH_UP_PERIODS = 2  # who is later than this leaves moments out, as a real camera would
OPEN_S = 10.0  # a source that takes longer makes its reader wait
END_S = 2.0  # longer than a slow picture of the simulator takes

Deliver = Callable[[np.ndarray, int, int], None]


class Feeder(threading.Thread):
    """Hands on the image of moment n at start + n / fps, on deadlines that do not drift.

    Args:
        source: what to play; closed when the thread ends.
        deliver: called with the image, its number (moment + 1; moments left out leave a gap) and its monotonic
            time in nanoseconds.
        inbox: told how the source ended.
    """

    def __init__(self, name: str, source: FrameSource, deliver: Deliver, inbox: Inbox) -> None:
        super().__init__(name=f"feeder of {name}", daemon=True)
        self._camera, self._source, self._deliver, self._inbox = name, source, deliver, inbox
        self._ready, self._stopping = threading.Event(), threading.Event()

    def begin(self) -> None:
        """Starts the thread and returns when the source is open, or has failed, which the reader is told."""
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
        except Exception as error:  # noqa: BLE001 - what a source raises must reach the reader, not die with the thread
            self._inbox.end(HardwareFaultError(f"camera {self._camera}: {type(error).__name__}: {error}"))
        finally:
            self._ready.set()
            self._source.close()

    def _play(self) -> bool:
        """True when the source has ended, False when it was stopped."""
        period_ns, begun_ns, moment = 1e9 / self._source.fps, time.monotonic_ns(), 0
        while True:
            due_ns = begun_ns + round(moment * period_ns)
            late_ns = time.monotonic_ns() - due_ns
            if late_ns > CATCH_UP_PERIODS * period_ns:
                moment += int(late_ns // period_ns)
                continue
            if self._stopping.wait(max(0, -late_ns) / 1e9):
                return False
            taken_ns = time.monotonic_ns()
            image = self._source.image(moment)
            if image is None:
                return True
            self._deliver(image, moment + 1, taken_ns)
            moment += 1
