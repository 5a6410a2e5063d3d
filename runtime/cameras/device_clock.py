"""Converts device timestamps of frames into monotonic nanoseconds of this machine."""

from __future__ import annotations

from collections import deque

WINDOW_FRAMES = 64  # 2 s at 30 Hz; two crystals drift apart by 0.1 ms in that time
LONGEST_JITTER_NS = 250_000_000  # beyond it, the device's clock was set or a recording restarted


class DeviceClock:
    """Removes transport jitter from arrival times.

    A device's clock has an arbitrary origin, and in two of the SDK's three timestamp domains it is set together with
    the wall clock. Transport can only delay a frame, so the smallest difference between arrival and timestamp among the
    last frames is the offset between the clocks plus a constant latency that cannot be measured here. No stamp is later
    than the arrival.
    """

    def __init__(self) -> None:
        self._differences_ns: deque[int] = deque(maxlen=WINDOW_FRAMES)

    def stamp_ns(self, device_ms: float, arrival_ns: int) -> int:
        """Monotonic time of the frame with timestamp `device_ms` that arrived at `arrival_ns`."""
        device_ns = round(device_ms * 1e6)
        self._differences_ns.append(arrival_ns - device_ns)
        stamp_ns = device_ns + min(self._differences_ns)
        if arrival_ns - stamp_ns > LONGEST_JITTER_NS:
            self._differences_ns.clear()
            self._differences_ns.append(arrival_ns - device_ns)
            return arrival_ns
        return stamp_ns
