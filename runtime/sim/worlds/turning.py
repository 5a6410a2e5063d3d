"""How a plate turns: its angle and speed at any time. Angles are counter-clockwise, seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

Place = tuple[float, ...]


@dataclass(frozen=True)
class Plate:
    """A plate at one moment, turned by `angle_rad` since the start of the episode."""

    angle_rad: float = 0.0
    speed_rad_s: float = 0.0

    def after(self, seconds: float) -> Plate:
        """The plate `seconds` later, if its speed stays as it is."""
        return Plate(self.angle_rad + self.speed_rad_s * seconds, self.speed_rad_s)

    def carried(self, place_m: Place, centre_m: Place) -> Place:
        """(x, y) to which the plate around `centre_m` has carried what was at `place_m` at the start."""
        if self.angle_rad == 0:  # exactly, without the rounding of a rotation
            return place_m
        cos, sin = math.cos(self.angle_rad), math.sin(self.angle_rad)
        x, y = place_m[0] - centre_m[0], place_m[1] - centre_m[1]
        return centre_m[0] + cos * x - sin * y, centre_m[1] + sin * x + cos * y


AT_REST = Plate()


@dataclass(frozen=True)
class Turning:
    """Constant speed, and from `reverses_s` on (if ever) the same speed the other way."""

    speed_rad_s: float = 0.0
    reverses_s: float = math.inf

    def plate_at(self, seconds: float) -> Plate:
        """The plate so long after the start of the episode."""
        there_s = min(seconds, self.reverses_s)
        back_s = seconds - there_s
        return Plate(self.speed_rad_s * (there_s - back_s), -self.speed_rad_s if back_s > 0 else self.speed_rad_s)


STANDING = Turning()
