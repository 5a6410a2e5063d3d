"""A bounded queue of frames between the thread that delivers them and the one that reads them; losses are counted."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TypeVar

from vpp_edge.errors import EndOfStreamError, HardwareFaultError
from vpp_edge.runtime.interfaces import CameraStatistics, Frame

CAPACITY = 4  # a reader may stall for 130 ms at 30 Hz; older frames are useless for control


class Inbox:
    """The queue; a new frame replaces the oldest one when it is full.

    Args:
        name: of the camera, for messages.
    """

    def __init__(self, name: str, capacity: int = CAPACITY) -> None:
        self._name, self._capacity = name, capacity
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._last_number: int | None = None
        self._delivered = self._dropped = self._overwritten = 0
        self._end: Exception | None = None

    def put(self, frame: Frame) -> None:
        """Adds a frame and wakes the reader. A number that jumps back is a restarted counter, not a loss."""
        with self._changed:
            if self._last_number is not None and frame.number > self._last_number + 1:
                self._dropped += frame.number - self._last_number - 1
            self._last_number = frame.number
            self._frames.append(frame)
            if len(self._frames) > self._capacity:
                self._frames.popleft()
                self._overwritten += 1
            self._changed.notify()

    def end(self, reason: Exception) -> None:
        """Ends the queue: `take` raises `reason` once all frames are read. Later reasons are ignored."""
        with self._changed:
            self._end = self._end or reason
            self._changed.notify_all()

    def end_of_stream(self) -> None:
        """Ends the queue after a recording has been played."""
        self.end(EndOfStreamError(f"camera {self._name}: the recording has ended; repeat it with loop=1"))

    def close(self) -> None:
        """Discards all frames: from now on `take` raises HardwareFaultError."""
        with self._changed:
            self._frames.clear()
            self._end = HardwareFaultError(f"camera {self._name} is closed; open it again to read")
            self._changed.notify_all()

    def take(self, timeout_ns: int) -> Frame:
        """The oldest frame not yet read.

        Raises:
            HardwareFaultError: none arrived within `timeout_ns`, or the camera is closed.
            EndOfStreamError: the recording has ended.
        """
        deadline_ns = time.monotonic_ns() + timeout_ns
        with self._changed:
            while not self._frames:
                if self._end is not None:
                    raise self._end
                remaining_ns = deadline_ns - time.monotonic_ns()
                if remaining_ns <= 0:
                    raise HardwareFaultError(
                        f"camera {self._name}: no frame within {timeout_ns / 1e6:g} ms; check its cable and power, and "
                        "open it again in a new process"
                    )
                self._changed.wait(remaining_ns / 1e9)
            self._delivered += 1
            return self._frames.popleft()

    @property
    def statistics(self) -> CameraStatistics:
        """A snapshot."""
        with self._changed:
            return CameraStatistics(self._delivered, self._dropped, self._overwritten, len(self._frames))


OneCamera = TypeVar("OneCamera", bound="InboxCamera")


class InboxCamera:
    """Base of all cameras, which deliver frames through an inbox. Context manager; a `Camera` of runtime/interfaces.py.

    A subclass fills `_inbox` from its own thread, and releases its device in `_release`.

    Args:
        name: for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inbox = Inbox(name)

    def read(self, timeout_ns: int) -> Frame:
        """The next frame not yet read.

        Raises:
            HardwareFaultError: none arrived within `timeout_ns`, or the camera is closed.
            EndOfStreamError: the recording or source has ended.
        """
        return self._inbox.take(timeout_ns)

    @property
    def statistics(self) -> CameraStatistics:
        return self._inbox.statistics

    def close(self) -> None:
        """Releases the device; may be called twice."""
        self._release()
        self._inbox.close()

    def _release(self) -> None:
        raise NotImplementedError

    def __enter__(self: OneCamera) -> OneCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
