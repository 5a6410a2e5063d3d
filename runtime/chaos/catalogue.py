"""The catalogue of faults that `vpp-edge chaos` injects, by number. T is the control period."""

from __future__ import annotations

from importlib.util import find_spec

from vpp_edge.errors import BadInputError
from vpp_edge.installing import pip_install
from vpp_edge.runtime.chaos import (
    bundle_faults,
    camera_faults,
    control_faults,
    hand_faults,
    machine_faults,
    policy_faults,
)
from vpp_edge.runtime.chaos.result import Fault, RunTrial

DYNAMIXEL = f"the Dynamixel SDK, to talk to simulated servos ({pip_install('leap')})"
PYAV = f"PyAV, to record ({pip_install('video')})"


def _if_installed(module: str, trial: RunTrial) -> RunTrial | None:
    return trial if find_spec(module) is not None else None


FAULTS = (
    Fault(
        number=1,
        name="one camera frame dropped",
        reaction="use the last one, count it",
        bound="no missed T",
        trial=camera_faults.dropped_frame,
    ),
    Fault(
        number=2,
        name="frames older than 2 frame periods",
        reaction="no new chunk from a stale view",
        bound="3 frame periods",
        trial=camera_faults.stale_frames,
    ),
    Fault(
        number=3,
        name="camera unplugged",
        reaction="finish committed actions, decelerate, hold; reopen",
        bound="detected in 200 ms; holding at chunk end",
        trial=camera_faults.unplugged,
    ),
    Fault(
        number=4,
        name="camera SDK call hangs",
        reaction="kill the camera process, restart it",
        bound="5 s",
        trial=camera_faults.hanging,
    ),
    Fault(
        number=5,
        name="frozen image",
        reaction="as for an unplugged camera",
        bound="300 ms",
        trial=camera_faults.frozen,
    ),
    Fault(
        number=6,
        name="wrong, missing, duplicate or swapped cameras",
        reaction="refuse to start",
        bound="at start",
        trial=camera_faults.wrong_cameras,
    ),
    Fault(
        number=7,
        name="two views too far apart in time",
        reaction="pair by timestamp, or skip",
        bound="1 frame",
        trial=camera_faults.skewed,
    ),
    Fault(
        number=8,
        name="inference late",
        reaction="go on with the committed tail; drop actions whose time has passed",
        bound="no missed T",
        trial=policy_faults.late_inference,
    ),
    Fault(
        number=9,
        name="chunk exhausted",
        reaction="decelerate to hold; never jump to the last pose",
        bound="within T; at rest in 100 ms",
        trial=policy_faults.exhausted_chunk,
    ),
    Fault(
        number=10,
        name="NaN from the policy",
        reaction="reject the whole chunk; three in a row: safe stop",
        bound="within T",
        trial=policy_faults.nan_actions,
    ),
    Fault(
        number=11,
        name="target jumps",
        reaction="clamp and report; sustained: stop",
        bound="every T",
        trial=policy_faults.jumping_targets,
    ),
    Fault(
        number=12,
        name="limits missing, negative, NaN or inverted",
        reaction="refuse to start",
        bound="at start",
        trial=control_faults.wrong_limits,
    ),
    Fault(
        number=13,
        name="engine or CUDA error",
        reaction="control goes on; rebuild the engine once, else stop",
        bound="no missed T",
        trial=policy_faults.engine_error,
    ),
    Fault(
        number=14,
        name="policy process killed",
        reaction="hold; restart it",
        bound="3 T; back in 2 s plus load time",
        trial=policy_faults.killed_process,
    ),
    Fault(
        number=15,
        name="control process killed",
        reaction="the hand's own watchdog stops it",
        bound="100 ms",
        trial=_if_installed("dynamixel_sdk", hand_faults.control_killed),
        needs=DYNAMIXEL,
    ),
    Fault(
        number=16,
        name="bus read timeout, CRC error",
        reaction="retry, hold the last state; five in a row: fault",
        bound="5 T",
        trial=_if_installed("dynamixel_sdk", hand_faults.bus_errors),
        needs=DYNAMIXEL,
    ),
    Fault(
        number=17,
        name="bus unplugged",
        reaction="fault; the operator re-arms",
        bound="5 T",
        trial=_if_installed("dynamixel_sdk", hand_faults.unplugged),
        needs=DYNAMIXEL,
    ),
    Fault(
        number=18,
        name="motor overload",
        reaction="cap the current, hold",
        bound="1 poll (2 T)",
        trial=_if_installed("dynamixel_sdk", hand_faults.overloaded),
        needs=DYNAMIXEL,
    ),
    Fault(
        number=19,
        name="encoder frozen or jumping",
        reaction="stop",
        bound="3 T",
        trial=_if_installed("dynamixel_sdk", hand_faults.wrong_encoder),
        needs=DYNAMIXEL,
    ),
    Fault(
        number=20,
        name="tracking error (contact, cable)",
        reaction="stop, hold the measured pose",
        bound="100 ms",
        trial=control_faults.obstructed,
    ),
    Fault(
        number=21,
        name="control loop overrun",
        reaction="skip missed slots, no catch-up burst; five in a row: stop",
        bound="5 T",
        trial=control_faults.overrun,
    ),
    Fault(
        number=22,
        name="machine throttled by heat or power mode",
        reaction="warn, lower the policy rate",
        bound="1 s",
        trial=machine_faults.heat,
    ),
    Fault(
        number=23,
        name="wall clock steps (NTP)",
        reaction="nothing: time is monotonic",
        bound="no missed T",
        trial=machine_faults.clock_step,
    ),
    Fault(
        number=24,
        name="disk full, logger slow",
        reaction="drop log records, count them, never block",
        bound="no missed T",
        trial=_if_installed("av", machine_faults.full_disk),
        needs=PYAV,
    ),
    Fault(
        number=25,
        name="SIGINT, SIGTERM, e-stop, exception",
        reaction="the one safe-stop path",
        bound="50 ms",
        trial=control_faults.stop_requests,
    ),
    Fault(
        number=26,
        name="late answer from an earlier episode",
        reaction="discard it by its id",
        bound="-",
        trial=policy_faults.earlier_episode,
    ),
    Fault(
        number=27,
        name="memory growth over a long run",
        reaction="none",
        bound="slope within noise",
        trial=machine_faults.memory,
    ),
    Fault(
        number=28,
        name="bundle changed, truncated, link, forged, bomb",
        reaction="refuse to load, name the file",
        bound="at load",
        trial=bundle_faults.tampered,
    ),
)


def faults_of(numbers: list[int] | None) -> tuple[Fault, ...]:
    """The faults with these numbers, in the order of FAULTS; all for None. Raises BadInputError for an unknown one."""
    known = {fault.number for fault in FAULTS}
    if unknown := sorted(set(numbers or ()) - known):
        raise BadInputError(f"unknown faults {unknown}; expected {min(known)} to {max(known)}")
    return FAULTS if numbers is None else tuple(fault for fault in FAULTS if fault.number in numbers)
