"""What ends a run by itself: in, how late the loop is and where the hand really is; out, nothing, or a clear fault.

Neither allocates: both are asked in every period of the control loop.
"""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.control.chunk_player import WRIST
from vpp_edge.runtime.control.scalar_rotation import difference
from vpp_edge.runtime.interfaces import HandLimits

RUNAWAY_NS = 1_000_000_000  # a target that runs ahead of the speed limits for so long is not to be followed
OVERRUNS_IN_A_ROW = 5  # each costs at least one slot, so by then the loop was late for ten periods
ASTRAY_NS = 80_000_000  # this long away from the command, and it is no lag any more; stopped within 100 ms


class ObstructedError(HardwareFaultError):
    """The hand is not where it was sent: whoever stops it must not push on."""


class OverrunGuard:
    """Counts periods in a row for which the loop came too late."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def check(self, skipped: int) -> None:
        """Takes one period that had `skipped` slots before it that were not served.

        Raises:
            HardwareFaultError: it was the fifth in a row.
        """
        self._in_a_row = self._in_a_row + 1 if skipped else 0
        if self._in_a_row >= OVERRUNS_IN_A_ROW:
            raise HardwareFaultError(
                f"the control loop came too late for {OVERRUNS_IN_A_ROW} periods in a row; free a core for it, lower "
                "--rate-hz, or allow real-time scheduling (`vpp-edge doctor` says how)"
            )


class RunawayGuard:
    """Notices targets that a hand at its speed limits cannot follow."""

    def __init__(self) -> None:
        self._clamped = 0
        self._seen_ns: int | None = None
        self._beyond_ns = 0  # time with targets beyond reach, less twice the time with others

    def check(self, clamped: int, now_ns: int) -> None:
        """Takes how many targets speed limits have cut so far.

        Raises:
            HardwareFaultError: it was every target of a second, or nearly every one for longer.
        """
        cut, self._clamped = clamped > self._clamped, clamped
        elapsed_ns, self._seen_ns = now_ns - (now_ns if self._seen_ns is None else self._seen_ns), now_ns
        self._beyond_ns = self._beyond_ns + elapsed_ns if cut else max(0, self._beyond_ns - 2 * elapsed_ns)
        if self._beyond_ns >= RUNAWAY_NS:
            raise HardwareFaultError(
                f"for {RUNAWAY_NS / 1e9:g} s targets were further away than the speed limits allow: the policy asks "
                "for what this hand cannot do; check the bundle's action scale and the hand's limits"
            )


class TrackingGuard:
    """Compares what the hand measures with what it was sent one period before."""

    def __init__(self, limits: HandLimits) -> None:
        self._limits = limits
        self._joint_limits = np.array(limits.joint_tracking_rad)
        self._errors = np.zeros(len(limits.joint_names))
        self._astray_since_ns: int | None = None
        self.largest_wrist_m = self.largest_turn_rad = 0.0
        self.largest_joint_rad = np.zeros(len(limits.joint_names))

    def check(self, measured: np.ndarray, command: np.ndarray, stamp_ns: int) -> None:
        """Takes one measurement, (7 + J,) of `stamp_ns`, and the last command, (7 + J,).

        Raises:
            ObstructedError: they have been too far apart for ASTRAY_NS.
        """
        np.subtract(measured[WRIST:], command[WRIST:], out=self._errors)
        np.abs(self._errors, out=self._errors)
        np.maximum(self.largest_joint_rad, self._errors, out=self.largest_joint_rad)
        wrist_m = _distance(measured, command)
        x, y, z = difference(measured[3:WRIST], command[3:WRIST])
        turn_rad = (x * x + y * y + z * z) ** 0.5
        self.largest_wrist_m = max(self.largest_wrist_m, wrist_m)
        self.largest_turn_rad = max(self.largest_turn_rad, turn_rad)
        astray = (
            wrist_m > self._limits.wrist_tracking_m
            or turn_rad > self._limits.wrist_tracking_rad
            or bool((self._errors > self._joint_limits).any())
        )
        if not astray:
            self._astray_since_ns = None
        elif self._astray_since_ns is None:
            self._astray_since_ns = stamp_ns
        elif stamp_ns - self._astray_since_ns >= ASTRAY_NS:
            raise ObstructedError(self._words(wrist_m, turn_rad))

    def _words(self, wrist_m: float, turn_rad: float) -> str:
        parts = [
            f"{name} {error:.2f} rad (limit {limit:.2f})"
            for name, error, limit in zip(self._limits.joint_names, self._errors, self._joint_limits, strict=True)
            if error > limit
        ]
        if wrist_m > self._limits.wrist_tracking_m:
            parts.append(f"wrist {1000 * wrist_m:.0f} mm (limit {1000 * self._limits.wrist_tracking_m:.0f})")
        if turn_rad > self._limits.wrist_tracking_rad:
            parts.append(f"wrist {turn_rad:.2f} rad (limit {self._limits.wrist_tracking_rad:.2f})")
        return (
            f"the hand was away from its command for {ASTRAY_NS / 1e6:.0f} ms: {', '.join(parts)}; look for contact, a "
            "caught cable or a motor that gave up before it is started again"
        )


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    x, y, z = (float(a[i]) - float(b[i]) for i in range(3))
    return (x * x + y * y + z * z) ** 0.5
