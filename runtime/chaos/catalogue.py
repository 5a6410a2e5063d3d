"""All faults, in the order of their numbers."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.chaos import (
    bundle_faults,
    camera_faults,
    control_faults,
    hand_faults,
    machine_faults,
    policy_faults,
)
from vpp_edge.runtime.chaos.result import Fault

ON_A_BUS = "the Dynamixel SDK for the simulated servos of these trials (pip install 'vpp-edge[leap]')"


def _hand_faults() -> tuple[Fault, ...]:
    """Those of a hand on its bus; without the SDK they are named only."""
    if find_spec("dynamixel_sdk") is not None:
        return hand_faults.FAULTS
    return tuple(replace(fault, trial=None, needs=ON_A_BUS) for fault in hand_faults.FAULTS)


FAULTS = tuple(
    sorted(
        (
            *camera_faults.FAULTS,
            *policy_faults.FAULTS,
            *control_faults.FAULTS,
            *_hand_faults(),
            *machine_faults.FAULTS,
            *bundle_faults.FAULTS,
        ),
        key=lambda fault: fault.number,
    )
)


def faults_of(numbers: list[int] | None) -> tuple[Fault, ...]:
    """The faults with these numbers, in their order; all of them for None. Raises BadInputError for unknown ones."""
    known = {fault.number: fault for fault in FAULTS}
    if unknown := sorted({number for number in numbers or () if number not in known}):
        raise BadInputError(f"unknown faults {unknown}; expected {min(known)} to {max(known)}")
    return FAULTS if numbers is None else tuple(fault for fault in FAULTS if fault.number in numbers)
