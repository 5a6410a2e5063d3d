"""Detects faulty encoders from joint angles and targets.

A jump is a change that the joint could not have made since the last reading. A frozen encoder reports exactly the same
angle in three readings although the target is far away. A blocked finger looks like a frozen encoder; for both, the
right reaction is to stop.
"""

from __future__ import annotations

import numpy as np

JUMP_RAD = 0.15  # added to the way at twice the speed limit: noise and external pushes
FAR_RAD = 0.2  # a joint that follows its target is closer than this
READINGS = 3


class EncoderWatch:
    """Watches J joints.

    Args:
        names: of the joints.
        speed_rad_s: (J,) speed limits.
    """

    def __init__(self, names: tuple[str, ...], speed_rad_s: tuple[float, ...]) -> None:
        self._names, self._speed = names, np.asarray(speed_rad_s, dtype=np.float64)
        self.restart()

    def restart(self) -> None:
        """Forgets earlier readings; the next reading is accepted."""
        self._last: np.ndarray | None = None
        self._last_ns = 0
        self._same = np.zeros(len(self._names), dtype=np.int64)

    def fault(self, measured_rad: np.ndarray, target_rad: np.ndarray | None, now_ns: int) -> str | None:
        """What is wrong with a reading, or None. A faulty reading is not remembered.

        Args:
            measured_rad: (J,) angles as read at `now_ns`.
            target_rad: (J,) targets of the joints; None while they are not driven.
        """
        if self._last is None:
            self._last, self._last_ns = measured_rad.copy(), now_ns
            return None
        turned = np.abs(measured_rad - self._last)
        most = 2 * self._speed * (now_ns - self._last_ns) / 1e9 + JUMP_RAD
        if (jumped := np.flatnonzero(turned > most)).size:
            joint = jumped[0]
            return f"the encoder of {self._names[joint]} jumped by {turned[joint]:.2f} rad"
        far = np.zeros(len(self._names), bool) if target_rad is None else np.abs(target_rad - measured_rad) > FAR_RAD
        self._same = np.where(far & (turned == 0), self._same + 1, 0)
        self._last, self._last_ns = measured_rad.copy(), now_ns
        if (stuck := np.flatnonzero(self._same >= READINGS)).size:
            return f"{self._names[stuck[0]]} does not turn towards its target: frozen encoder, or blocked"
        return None
