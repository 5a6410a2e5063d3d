"""All faults, in the order of their numbers."""

from __future__ import annotations

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.chaos import bundle_faults, camera_faults, control_faults, machine_faults, policy_faults
from vpp_edge.runtime.chaos.finding import Fault

ON_A_BUS = "a hand on its bus; the code is tested on simulated servos (tests/runtime/hands)"
HAND_FAULTS = (
    Fault(15, "control process killed", "the hand's own watchdog stops it", "100 ms", None, ON_A_BUS),
    Fault(16, "bus timeout, CRC error", "retry, hold the last state; five in a row: fault", "1 to 5 T", None, ON_A_BUS),
    Fault(17, "bus unplugged", "fault; reopen; the operator arms again", "5 T", None, ON_A_BUS),
    Fault(18, "motor overload, over-temperature", "cap the current, hold", "1 poll", None, ON_A_BUS),
    Fault(19, "encoder frozen or jumping", "stop that joint set", "3 T", None, ON_A_BUS),
)
FAULTS = tuple(
    sorted(
        (
            *camera_faults.FAULTS, *policy_faults.FAULTS, *control_faults.FAULTS, *HAND_FAULTS, *machine_faults.FAULTS,
            *bundle_faults.FAULTS,
        ),
        key=lambda fault: fault.number,
    )
)  # fmt: skip


def faults_of(numbers: list[int] | None) -> tuple[Fault, ...]:
    """The faults with these numbers, in their order; all of them for None. Raises BadInputError for unknown ones."""
    known = {fault.number: fault for fault in FAULTS}
    if unknown := sorted({number for number in numbers or () if number not in known}):
        raise BadInputError(f"unknown faults {unknown}; expected {min(known)} to {max(known)}")
    return FAULTS if numbers is None else tuple(fault for fault in FAULTS if fault.number in numbers)
