"""Converts device timestamps of frames into monotonic nanoseconds of this machine."""

from __future__ import annotations

from collections import deque
from statistics import median_low

WINDOW_FRAMES = 64  # 2 s at 30 Hz; two crystals drift apart by 0.1 ms in that time
LONGEST_JITTER_NS = 250_000_000  # beyond it, the device's clock was set or a recording restarted
SMALLEST_STEP_NS = 10_000_000  # devices do not space their frames more evenly than that when the exposure changes
PERIOD_FRAMES = 15  # the median of their distances is the device's period


class DeviceClock:
    """Removes transport jitter from arrival times.

    A device's clock has an arbitrary origin, and in two of the SDK's three timestamp domains it is set together with
    the wall clock. Transport can only delay a frame, so the smallest difference between arrival and timestamp among the
    last frames is the offset between the clocks plus a constant latency that cannot be measured here. No stamp is later
    than the arrival.

    A clock that was set forward makes that difference smaller, so the next frame already gives the new offset. One that
    was set back makes it larger, as late frames do; but late frames are as far apart on the device as ever, while the
    frame after a step is closer to the one before it by the length of the step.
    """

    def __init__(self) -> None:
        self._differences_ns: deque[int] = deque(maxlen=WINDOW_FRAMES)
        self._periods_ns: deque[int] = deque(maxlen=PERIOD_FRAMES)
        self._last: tuple[int, int | None] | None = None

    def stamp_ns(self, device_ms: float, arrival_ns: int, number: int | None = None) -> int:
        """Monotonic time of a frame.

        Args:
            device_ms: its timestamp on the device's clock.
            arrival_ns: when it arrived, monotonic.
            number: of the frame, by which lost frames are known; None: none is ever lost.
        """
        device_ns = round(device_ms * 1e6)
        self._differences_ns.append(arrival_ns - device_ns)
        self._follow_step_back(self._missing_ns(device_ns, number))
        stamp_ns = device_ns + min(self._differences_ns)
        if arrival_ns - stamp_ns > LONGEST_JITTER_NS:
            self._differences_ns.clear()
            self._differences_ns.append(arrival_ns - device_ns)
            return arrival_ns
        return stamp_ns

    def _missing_ns(self, device_ns: int, number: int | None) -> int:
        """By how much less than usual the device's clock counted since the last frame; 0 while that is unknown."""
        (last_ns, last_number), self._last = self._last or (device_ns, number), (device_ns, number)
        frames = 1 if number is None or last_number is None else max(1, number - last_number)
        passed_ns = device_ns - last_ns
        missing_ns = frames * median_low(self._periods_ns) - passed_ns if self._periods_ns else 0
        if passed_ns > 0:
            self._periods_ns.append(passed_ns // frames)
        return missing_ns

    def _follow_step_back(self, step_ns: int) -> None:
        """Takes what was measured before a step to the clock after it, if there was one."""
        *before_ns, newest_ns = self._differences_ns
        if not (before_ns and SMALLEST_STEP_NS <= step_ns <= LONGEST_JITTER_NS):
            return
        # Frames that only follow each other faster, as after a dark scene, leave the difference as it was.
        if newest_ns - min(before_ns) >= step_ns // 2:
            self._differences_ns.clear()
            self._differences_ns.extend((*(earlier_ns + step_ns for earlier_ns in before_ns), newest_ns))
