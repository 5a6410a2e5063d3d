"""What ends a run by itself: checks in every period that raise a clear fault. They allocate nothing."""

from __future__ import annotations

import numpy as np

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.control.contract import Cause
from vpp_edge.runtime.control.scalar_rotation import difference
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout

RUNAWAY_NS = 1_000_000_000  # targets that stay beyond the speed limits for so long are not to be followed
OVERRUNS_IN_A_ROW = 5  # each costs at least one slot, so by then the loop was late for ten periods
DEVIATING_NS = 80_000_000  # longer than any lag; with the reaction the hand stops within 100 ms


class GuardError(HardwareFaultError):
    """The run cannot go on safely."""

    cause: Cause


class ObstructedError(GuardError):
    """The hand is not where it was sent; stopping it must not push on."""

    cause = Cause.OBSTRUCTED


class OverrunError(GuardError):
    """The control loop cannot keep its period."""

    cause = Cause.OVERRUN


class RunawayError(GuardError):
    """The policy asks for what the hand cannot do."""

    cause = Cause.RUNAWAY


class UnusableChunksError(GuardError):
    """The policy gives nothing that could be executed."""

    cause = Cause.UNUSABLE_CHUNKS


class OverrunGuard:
    """Counts consecutive periods for which the loop came too late."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def check(self, skipped: int) -> None:
        """Takes how many slots were not served before the present one.

        Raises:
            OverrunError: this was the fifth period in a row with skipped slots.
        """
        self._in_a_row = self._in_a_row + 1 if skipped else 0
        if self._in_a_row >= OVERRUNS_IN_A_ROW:
            raise OverrunError(
                f"the control loop came too late for {OVERRUNS_IN_A_ROW} periods in a row; free a core for it, lower "
                "--rate-hz, or allow real-time scheduling (`vpp-edge doctor` says how)"
            )


class RunawayGuard:
    """Detects targets that a hand at its speed limits cannot follow."""

    def __init__(self) -> None:
        self._clamped = 0
        self._checked_ns: int | None = None
        self._beyond_ns = 0  # time with targets out of reach, less twice the time with others

    def check(self, clamped: int, now_ns: int) -> None:
        """Takes how many targets the speed limits have clamped so far.

        Raises:
            RunawayError: they clamped every target of a second, or nearly every one for longer.
        """
        cut, self._clamped = clamped > self._clamped, clamped
        elapsed_ns, self._checked_ns = now_ns - (now_ns if self._checked_ns is None else self._checked_ns), now_ns
        self._beyond_ns = self._beyond_ns + elapsed_ns if cut else max(0, self._beyond_ns - 2 * elapsed_ns)
        if self._beyond_ns >= RUNAWAY_NS:
            raise RunawayError(
                f"for {RUNAWAY_NS / 1e9:g} s targets were further away than the speed limits allow: the policy asks "
                "for what this hand cannot do; check the bundle's action scale and the hand's limits"
            )


class TrackingGuard:
    """Compares what the hand measures with the command of one period before.

    Attributes:
        largest_wrist_m, largest_turn_rad, largest_joint_rad: largest deviation so far; (J,) of the joints.
    """

    def __init__(self, limits: HandLimits) -> None:
        self._limits = limits
        self._joint_limits = np.array(limits.joint_tracking_rad)
        self._errors = np.zeros(limits.joints)
        self._deviating_since_ns: int | None = None
        self.largest_wrist_m = self.largest_turn_rad = 0.0
        self.largest_joint_rad = np.zeros(limits.joints)

    def check(self, measured: np.ndarray, command: np.ndarray, stamp_ns: int) -> None:
        """Takes one measurement, (7 + J,) at `stamp_ns`, and the last command, (7 + J,).

        Raises:
            ObstructedError: they have been too far apart for DEVIATING_NS.
        """
        np.subtract(measured[PoseLayout.JOINTS], command[PoseLayout.JOINTS], out=self._errors)
        np.abs(self._errors, out=self._errors)
        np.maximum(self.largest_joint_rad, self._errors, out=self.largest_joint_rad)
        wrist_m = _distance(measured, command)
        x, y, z = difference(measured[PoseLayout.QUATERNION], command[PoseLayout.QUATERNION])
        turn_rad = (x * x + y * y + z * z) ** 0.5
        self.largest_wrist_m = max(self.largest_wrist_m, wrist_m)
        self.largest_turn_rad = max(self.largest_turn_rad, turn_rad)
        deviating = (
            wrist_m > self._limits.wrist_tracking_m
            or turn_rad > self._limits.wrist_tracking_rad
            or bool((self._errors > self._joint_limits).any())
        )
        if not deviating:
            self._deviating_since_ns = None
        elif self._deviating_since_ns is None:
            self._deviating_since_ns = stamp_ns
        elif stamp_ns - self._deviating_since_ns >= DEVIATING_NS:
            raise ObstructedError(self._message(wrist_m, turn_rad))

    def _message(self, wrist_m: float, turn_rad: float) -> str:
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
            f"the hand was away from its command for {DEVIATING_NS / 1e6:.0f} ms: {', '.join(parts)}; look for "
            "contact, a caught cable or a failed motor before you start it again"
        )


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    x, y, z = (float(a[i]) - float(b[i]) for i in range(3))
    return (x * x + y * y + z * z) ** 0.5
