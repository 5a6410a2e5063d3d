"""The layout of an episode, drawn from its seed: places and heights of the buttons, light and camera poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.sim.view_names import POLICY_VIEWS

COLOURS = ("red", "green", "blue", "yellow")
BUTTON_RADIUS_M = 0.019
PLATE_CENTRE_M = (0.46, -0.05)
SLOT_M = 0.05  # from the centre of the plate to the centre of a slot, along both axes
SLOTS = tuple((PLATE_CENTRE_M[0] + x * SLOT_M, PLATE_CENTRE_M[1] + y * SLOT_M) for x in (-1, 1) for y in (-1, 1))
PLACE_TOLERANCE_M = 0.006
HEIGHTS_M = (0.012, 0.020)  # of a button above the plate
CAMERA_TOLERANCE_M = 0.006  # mounting accuracy of the eye and of the point that it looks at, along each axis
LIGHTS, AMBIENTS, TILT = (0.35, 0.55), (0.32, 0.44), 0.15

Place = tuple[float, ...]


@dataclass(frozen=True)
class Layout:
    """One arrangement of the scene. Values per button are in the order of COLOURS.

    Attributes:
        places_m: (x, y) of each button's axis.
        heights_m: of each button above the plate.
        eye_offsets_m, target_offsets_m: by camera, offsets (x, y, z) of the eye and of the point that it looks at.
        light, ambient: brightness of the lamp and of the ambient light, 0 to 1.
        light_tilt: added to x and y of the light's direction.
    """

    places_m: tuple[Place, ...]
    heights_m: tuple[float, ...]
    eye_offsets_m: dict[str, Place]
    target_offsets_m: dict[str, Place]
    light: float
    ambient: float
    light_tilt: tuple[float, float]


NOMINAL = Layout(
    places_m=SLOTS,
    heights_m=(0.016,) * len(COLOURS),
    eye_offsets_m={},
    target_offsets_m={},
    light=0.45,
    ambient=0.38,
    light_tilt=(0.0, 0.0),
)


def layout_from_seed(seed: int) -> Layout:
    """The layout of an episode; the same seed gives the same layout on every machine."""
    random = np.random.default_rng((seed, 1))

    def near(*centre: float, by: float = CAMERA_TOLERANCE_M) -> Place:
        return tuple(float(value) for value in np.asarray(centre) + random.uniform(-by, by, len(centre)))

    slots = random.permutation(len(COLOURS))
    return Layout(
        places_m=tuple(near(*SLOTS[slot], by=PLACE_TOLERANCE_M) for slot in slots),
        heights_m=tuple(float(height) for height in random.uniform(*HEIGHTS_M, len(COLOURS))),
        eye_offsets_m={name: near(0.0, 0.0, 0.0) for name in POLICY_VIEWS},
        target_offsets_m={name: near(0.0, 0.0, 0.0) for name in POLICY_VIEWS},
        light=float(random.uniform(*LIGHTS)),
        ambient=float(random.uniform(*AMBIENTS)),
        light_tilt=(float(random.uniform(-TILT, TILT)), float(random.uniform(-TILT, TILT))),
    )
