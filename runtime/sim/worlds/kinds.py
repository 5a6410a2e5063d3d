"""The kinds of simulated worlds, each with what it asks. Imports no numpy, so commands can use it."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.errors import BadInputError
from vpp_edge.suggestion import did_you_mean


@dataclass(frozen=True)
class WorldKind:
    """One kind of world: four buttons on a plate, and what is asked about them.

    Attributes:
        instruction: with the requested colour as `{colour}`.
        time_limit_s: a longer episode has failed.
        button_radius_m: of every button.
        alike: how many buttons have the requested colour; each of them may be pressed, and no other.
        turns: whether the plate turns.
    """

    name: str
    instruction: str
    time_limit_s: float
    button_radius_m: float
    alike: int = 1
    turns: bool = False


BUTTONS = WorldKind("buttons", "press the {colour} button", time_limit_s=8.0, button_radius_m=0.019)
# A finger tip presses a button that it meets within 3 mm of its edge: 13 mm from its axis, which the slowest button
# (layout.TURNS_RAD_S) covers in 0.2 s. Going to it takes 1.4 s, so the limit leaves no time for a second try.
TURNTABLE = WorldKind("turntable", BUTTONS.instruction, time_limit_s=2.5, button_radius_m=0.010, turns=True)
# Going straight to a button takes 1.4 s, so only who cannot decide between the two runs out of time.
EITHER = WorldKind("either", "press either {colour} button", time_limit_s=4.0, button_radius_m=0.019, alike=2)
KINDS = (BUTTONS, TURNTABLE, EITHER)
NAMES = tuple(kind.name for kind in KINDS)


def kind_from_name(name: str) -> WorldKind:
    """The kind of that name. Raises BadInputError for an unknown one."""
    if name not in NAMES:
        raise BadInputError(f"unknown world {name!r}{did_you_mean(name, NAMES)}; expected one of {', '.join(NAMES)}")
    return KINDS[NAMES.index(name)]
