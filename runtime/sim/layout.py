"""The layout of an episode, drawn from its seed: buttons and the turning of their plate, light and camera poses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vpp_edge.runtime.sim.view_names import POLICY_VIEWS
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, WorldKind
from vpp_edge.runtime.sim.worlds.turning import STANDING, Place, Plate, Turning

COLOURS = ("red", "green", "blue", "yellow")
PLATE_CENTRE_M = (0.46, -0.05)
SLOT_M = 0.05  # from the centre of the plate to the centre of a slot, along both axes
SLOTS = tuple((PLATE_CENTRE_M[0] + x * SLOT_M, PLATE_CENTRE_M[1] + y * SLOT_M) for x in (-1, 1) for y in (-1, 1))
PLACE_TOLERANCE_M = 0.006
HEIGHTS_M = (0.012, 0.020)  # of a button above the plate
CAMERA_TOLERANCE_M = 0.006  # mounting accuracy of the eye and of the point that it looks at, along each axis
LIGHTS, AMBIENTS, TILT = (0.35, 0.55), (0.32, 0.44), 0.15
# On a turning plate: distance of the buttons from its centre, and its speed. The slowest button covers 7 cm/s: 14 mm
# between two observations 0.2 s apart, before anything is late.
RING_M, TURNS_RAD_S = (0.058, 0.068), (1.2, 1.8)
REVERSING_SHARE, REVERSES_S = 1 / 3, (0.2, 1.0)  # of the episodes, and when


@dataclass(frozen=True)
class Layout:
    """One arrangement of the scene.

    Attributes:
        colours: of each button, from COLOURS.
        places_m: (x, y) of each button's axis at the start.
        heights_m: of each button above the plate.
        eye_offsets_m, target_offsets_m: by camera, offsets (x, y, z) of the eye and of the point that it looks at.
        light, ambient: brightness of the lamp and of the ambient light, 0 to 1.
        light_tilt: added to x and y of the light's direction.
        turning: of the plate.
    """

    colours: tuple[str, ...]
    places_m: tuple[Place, ...]
    heights_m: tuple[float, ...]
    eye_offsets_m: dict[str, Place]
    target_offsets_m: dict[str, Place]
    light: float
    ambient: float
    light_tilt: tuple[float, float]
    turning: Turning = STANDING

    def place_m(self, button: int, plate: Plate) -> Place:
        """(x, y) of a button's axis when the plate is so."""
        return plate.carried(self.places_m[button], PLATE_CENTRE_M)


NOMINAL = Layout(
    colours=COLOURS,
    places_m=SLOTS,
    heights_m=(0.016,) * len(COLOURS),
    eye_offsets_m={},
    target_offsets_m={},
    light=0.45,
    ambient=0.38,
    light_tilt=(0.0, 0.0),
)


def layout_from_seed(seed: int, kind: WorldKind = BUTTONS) -> Layout:
    """The layout of an episode; the same seed gives the same layout on every machine."""
    random = np.random.default_rng((seed, 1))

    def near(*centre: float, by: float = CAMERA_TOLERANCE_M) -> Place:
        return tuple(float(value) for value in np.asarray(centre) + random.uniform(-by, by, len(centre)))

    slots = random.permutation(len(COLOURS))
    layout = Layout(
        colours=COLOURS,
        places_m=tuple(near(*SLOTS[slot], by=PLACE_TOLERANCE_M) for slot in slots),
        heights_m=tuple(float(height) for height in random.uniform(*HEIGHTS_M, len(COLOURS))),
        eye_offsets_m={name: near(0.0, 0.0, 0.0) for name in POLICY_VIEWS},
        target_offsets_m={name: near(0.0, 0.0, 0.0) for name in POLICY_VIEWS},
        light=float(random.uniform(*LIGHTS)),
        ambient=float(random.uniform(*AMBIENTS)),
        light_tilt=(float(random.uniform(-TILT, TILT)), float(random.uniform(-TILT, TILT))),
    )
    if kind.alike > 1:
        first, *others = random.permutation(COLOURS).tolist()
        layout = replace(layout, colours=(*(first,) * kind.alike, *others)[: len(COLOURS)])
    if kind.turns:
        layout = replace(layout, places_m=_ring(random, slots), turning=_turning(random))
    return layout


def _ring(random: np.random.Generator, slots: np.ndarray) -> tuple[Place, ...]:
    """The buttons a quarter turn apart, from any angle on."""
    angles = random.uniform(0, 2 * math.pi) + slots * math.pi / 2
    radii_m = random.uniform(*RING_M, len(slots))
    x, y = PLATE_CENTRE_M
    return tuple(
        (x + r * math.cos(angle), y + r * math.sin(angle))
        for r, angle in zip(radii_m.tolist(), angles.tolist(), strict=True)
    )


def _turning(random: np.random.Generator) -> Turning:
    speed_rad_s = float(random.choice((-1, 1)) * random.uniform(*TURNS_RAD_S))
    reverses, reverses_s = random.random() < REVERSING_SHARE, float(random.uniform(*REVERSES_S))
    return Turning(speed_rad_s, reverses_s if reverses else math.inf)
