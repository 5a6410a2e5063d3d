"""Opens the hand that --hand names: `KIND` or `KIND:ADDRESS`.

Other packages can add kinds as entry points of the group `vpp_edge.hands`. Each names a callable that takes the address
(a string, possibly empty) and returns a Hand.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.hands.inspire import inspire_hand_from_address
from vpp_edge.runtime.hands.leap import leap_hand_from_address
from vpp_edge.runtime.hands.xhand import xhand_from_address
from vpp_edge.runtime.interfaces import Hand
from vpp_edge.runtime.sim.hand import sim_hand_from_address
from vpp_edge.suggestion import did_you_mean

GROUP = "vpp_edge.hands"
OWN: dict[str, Callable[[str], Hand]] = {
    "inspire": inspire_hand_from_address,
    "leap": leap_hand_from_address,
    "sim": sim_hand_from_address,
    "xhand": xhand_from_address,
}


def hand_kinds() -> list[str]:
    """Names of the installed kinds of hands."""
    return sorted({*OWN, *(point.name for point in entry_points(group=GROUP))})


def hand_from_text(text: str) -> Hand:
    """Opens the hand that `text` names; a context manager that closes it.

    Args:
        text: `KIND`, or `KIND:ADDRESS` for a kind with an address.

    Raises:
        BadInputError: the kind is unknown, or the address is invalid.
        MissingDependencyError: the kind's library is not installed.
        HardwareFaultError: the hand does not answer.
    """
    kind, _, address = text.partition(":")
    if kind in OWN:
        return OWN[kind](address)
    points = entry_points(group=GROUP, name=kind)
    if not points:
        kinds = hand_kinds()
        raise BadInputError(f"unknown hand {text!r}{did_you_mean(kind, kinds)}; expected one of: {', '.join(kinds)}")
    return next(iter(points)).load()(address)
