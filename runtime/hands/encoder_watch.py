"""Encoders that lie: in, what the joints were told and what they show; out, the joint whose angle cannot be true.

A jump is further than the joint could have turned since the last reading. A frozen encoder shows the very same angle
for three readings while its joint is told to be far away. A finger that is held fast looks like a frozen encoder;
the right reaction to both is to stop.
"""

from __future__ import annotations

import numpy as np

JUMP_RAD = 0.15  # beyond the way at twice the speed limit: noise, and pushes from outside
FAR_RAD = 0.2  # a joint that follows is nearer to its target than this
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
        """Forgets what was shown; the next reading is believed."""
        self._last: np.ndarray | None = None
        self._last_ns = 0
        self._same = np.zeros(len(self._names), dtype=np.int64)

    def fault(self, shown_rad: np.ndarray, target_rad: np.ndarray | None, now_ns: int) -> str | None:
        """What is wrong with a reading, or None. A wrong one is not remembered.

        Args:
            shown_rad: (J,) angles as read at `now_ns`.
            target_rad: (J,) angles that the joints are driven to; None while they are not driven.
        """
        if self._last is None:
            self._last, self._last_ns = shown_rad.copy(), now_ns
            return None
        turned = np.abs(shown_rad - self._last)
        most = 2 * self._speed * (now_ns - self._last_ns) / 1e9 + JUMP_RAD
        if (jumped := np.flatnonzero(turned > most)).size:
            joint = jumped[0]
            return f"the encoder of {self._names[joint]} jumped by {turned[joint]:.2f} rad"
        far = np.zeros(len(self._names), bool) if target_rad is None else np.abs(target_rad - shown_rad) > FAR_RAD
        self._same = np.where(far & (turned == 0), self._same + 1, 0)
        self._last, self._last_ns = shown_rad.copy(), now_ns
        if (stuck := np.flatnonzero(self._same >= READINGS)).size:
            return f"{self._names[stuck[0]]} does not turn towards its target: frozen encoder, or held fast"
        return None
