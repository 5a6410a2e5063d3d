"""Opens the hand that --hand names: `KIND` or `KIND:ADDRESS`.

Other packages can add kinds as entry points of the group `vpp_edge.hands`. Each names a callable that takes the address
(a string, possibly empty) and returns a Hand.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from vpp_edge.errors import BadInputError
from vpp_edge.suggestion import check_text, did_you_mean

if TYPE_CHECKING:
    from vpp_edge.runtime.interfaces import Hand  # loads numpy, which shell completion must not

GROUP = "vpp_edge.hands"
OWN = {
    "inspire": "vpp_edge.runtime.hands.inspire:inspire_hand_from_address",
    "leap": "vpp_edge.runtime.hands.leap:leap_hand_from_address",
    "sim": "vpp_edge.runtime.sim.hand:sim_hand_from_address",
    "xhand": "vpp_edge.runtime.hands.xhand:xhand_from_address",
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
    check_text("hand", text)
    kind, _, address = text.partition(":")
    own = [EntryPoint(name, value, GROUP) for name, value in OWN.items() if name == kind]
    points = own or list(entry_points(group=GROUP, name=kind))
    if not points:
        kinds = hand_kinds()
        raise BadInputError(f"unknown hand {text!r}{did_you_mean(kind, kinds)}; expected one of: {', '.join(kinds)}")
    hand: Hand = points[0].load()(address)
    return hand
