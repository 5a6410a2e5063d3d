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
        about=(
            "A camera loses one image, as a busy USB bus does. The policy goes on with the images that it has; "
            "the loss is counted and no command comes late."
        ),
        trial=camera_faults.dropped_frame,
    ),
    Fault(
        number=2,
        name="frames older than 2 frame periods",
        reaction="no new chunk from a stale view",
        bound="3 frame periods",
        about=(
            "A camera delivers images that are older than their arrival suggests. The policy must not act on what "
            "was true a moment ago: it begins no inference from them."
        ),
        trial=camera_faults.stale_frames,
    ),
    Fault(
        number=3,
        name="camera unplugged",
        reaction="finish committed actions, decelerate, hold; reopen",
        bound="detected in 200 ms; holding at chunk end",
        about=(
            "A camera's cable is pulled out and plugged in again. The hand finishes what was already decided, "
            "slows down and holds, and moves on by itself once the camera is back."
        ),
        trial=camera_faults.unplugged,
    ),
    Fault(
        number=4,
        name="camera SDK call hangs",
        reaction="kill the camera process, restart it",
        bound="5 s",
        about=(
            "A call into the camera's driver never returns. Its process is killed and a new one opens the camera, "
            "while the hand stays under control."
        ),
        trial=camera_faults.hanging,
    ),
    Fault(
        number=5,
        name="frozen image",
        reaction="as for an unplugged camera",
        bound="300 ms",
        about=(
            "A camera sends the same image again and again, as if the world stood still. It is treated as if it "
            "were unplugged."
        ),
        trial=camera_faults.frozen,
    ),
    Fault(
        number=6,
        name="wrong, missing, duplicate or swapped cameras",
        reaction="refuse to start",
        bound="at start",
        about=(
            "Cameras are missing, given twice, too many, or may have been swapped. The run is refused before the "
            "hand moves."
        ),
        trial=camera_faults.wrong_cameras,
        paced=False,
    ),
    Fault(
        number=7,
        name="two views too far apart in time",
        reaction="pair by timestamp, or skip",
        bound="1 frame",
        about=(
            "One camera is one and a half images behind the other. The policy gets two images of the same moment, "
            "or none."
        ),
        trial=camera_faults.skewed,
    ),
    Fault(
        number=8,
        name="inference late",
        reaction="go on with the committed tail; drop actions whose time has passed",
        bound="no missed T",
        about=(
            "One inference takes much longer than usual. The hand goes on with the actions that it has, and of "
            "the late answer skips those whose time has passed."
        ),
        trial=policy_faults.late_inference,
    ),
    Fault(
        number=9,
        name="chunk exhausted",
        reaction="decelerate to hold; never jump to the last pose",
        bound="within T; at rest in 100 ms",
        about=(
            "No answer comes before the last action is done. The hand slows down and holds where it is, and moves "
            "on with the next answer."
        ),
        trial=policy_faults.exhausted_chunk,
    ),
    Fault(
        number=10,
        name="NaN from the policy",
        reaction="reject the whole chunk; three in a row: safe stop",
        bound="within T",
        about=(
            "The policy answers with numbers that are none (NaN). Such an answer is never executed, not even in "
            "part; the third in a row ends the run with the hand held."
        ),
        trial=policy_faults.nan_actions,
    ),
    Fault(
        number=11,
        name="target jumps",
        reaction="clamp and report; sustained: stop",
        bound="every T",
        about=(
            "The policy asks for jumps from one end of the workspace to the other. Every command stays within the "
            "hand's limits, and if it goes on the run is stopped."
        ),
        trial=policy_faults.jumping_targets,
    ),
    Fault(
        number=12,
        name="limits missing, negative, NaN or inverted",
        reaction="refuse to start",
        bound="at start",
        about="The limits of the hand's motion are missing or make no sense. They are refused before the hand moves.",
        trial=control_faults.wrong_limits,
        paced=False,
    ),
    Fault(
        number=13,
        name="engine or CUDA error",
        reaction="control goes on; rebuild the engine once, else stop",
        bound="no missed T",
        about=(
            "The engine that computes the policy fails, as on a CUDA error. It is loaded once more while the hand "
            "stays under control; if it fails again, the run ends with the hand held."
        ),
        trial=policy_faults.engine_error,
    ),
    Fault(
        number=14,
        name="policy process killed",
        reaction="hold; restart it",
        bound="3 T; back in 2 s plus load time",
        about=(
            "The process that computes the policy is killed in the middle of a motion. The hand holds at once, "
            "and moves on when a new process has loaded the policy."
        ),
        trial=policy_faults.killed_process,
    ),
    Fault(
        number=15,
        name="control process killed",
        reaction="the hand's own watchdog stops it",
        bound="100 ms",
        about=(
            "The process that commands the hand is killed, so nothing tells the motors to stop. The motors' own "
            "watchdog must do it."
        ),
        trial=_if_installed("dynamixel_sdk", hand_faults.control_killed),
        needs=DYNAMIXEL,
        paced=False,
    ),
    Fault(
        number=16,
        name="bus read timeout, CRC error",
        reaction="retry, hold the last state; five in a row: fault",
        bound="5 T",
        about=(
            "Answers of the motors are lost or garbled. A few are survived with the last known state; a bus that "
            "stays silent ends the run."
        ),
        trial=_if_installed("dynamixel_sdk", hand_faults.bus_errors),
        needs=DYNAMIXEL,
        paced=False,
    ),
    Fault(
        number=17,
        name="bus unplugged",
        reaction="fault; the operator re-arms",
        bound="5 T",
        about=(
            "The cable to the hand is pulled out. The run ends at once and says why; an operator has to start it again."
        ),
        trial=_if_installed("dynamixel_sdk", hand_faults.unplugged),
        needs=DYNAMIXEL,
        paced=False,
    ),
    Fault(
        number=18,
        name="motor overload",
        reaction="cap the current, hold",
        bound="1 poll (2 T)",
        about="A motor shuts itself down because it is overloaded. The others hold with reduced current.",
        trial=_if_installed("dynamixel_sdk", hand_faults.overloaded),
        needs=DYNAMIXEL,
        paced=False,
    ),
    Fault(
        number=19,
        name="encoder frozen or jumping",
        reaction="stop",
        bound="3 T",
        about=(
            "A joint's sensor jumps, or shows a standstill while the joint moves. The run stops, because nobody "
            "knows where the hand is."
        ),
        trial=_if_installed("dynamixel_sdk", hand_faults.wrong_encoder),
        needs=DYNAMIXEL,
        paced=False,
    ),
    Fault(
        number=20,
        name="tracking error (contact, cable)",
        reaction="stop, hold the measured pose",
        bound="100 ms",
        about=(
            "The hand is not where it was sent: it touches something, a cable is caught, a motor has failed. The "
            "run stops and the hand holds where it is, without pushing on."
        ),
        trial=control_faults.obstructed,
    ),
    Fault(
        number=21,
        name="control loop overrun",
        reaction="skip missed slots, no catch-up burst; five in a row: stop",
        bound="5 T",
        about=(
            "The control loop is kept from running for a moment, or again and again. Missed commands are left "
            "out, never sent in a burst; the fifth delay in a row stops the run."
        ),
        trial=control_faults.overrun,
    ),
    Fault(
        number=22,
        name="machine throttled by heat or power mode",
        reaction="warn, lower the policy rate",
        bound="1 s",
        about=(
            "The machine is slowed down by heat, by a lower power mode, or by over-current. It is reported, and "
            "the policy runs less often, so that the rest keeps its time."
        ),
        trial=machine_faults.throttled,
    ),
    Fault(
        number=23,
        name="wall clock steps (NTP)",
        reaction="nothing: time is monotonic",
        bound="no missed T",
        about=(
            "The clock of the machine jumps by an hour, as when it is set over the network. Nothing happens: all "
            "timing uses a clock that cannot be set."
        ),
        trial=machine_faults.clock_step,
    ),
    Fault(
        number=24,
        name="disk full, logger slow",
        reaction="drop log records, count them, never block",
        bound="no missed T",
        about=(
            "The disk is full and the recorder is stuck. What cannot be recorded is lost and reported; the hand "
            "never waits for a disk."
        ),
        trial=_if_installed("av", machine_faults.full_disk),
        needs=PYAV,
    ),
    Fault(
        number=25,
        name="SIGINT, SIGTERM, e-stop, exception",
        reaction="the one safe-stop path",
        bound="50 ms",
        about=(
            "The run is stopped by Ctrl-C, by the system, by an emergency stop, or by an error in the program. "
            "All take the same way out: slow down, then hold."
        ),
        trial=control_faults.stop_requests,
    ),
    Fault(
        number=26,
        name="late answer from an earlier episode",
        reaction="discard it by its id",
        bound="-",
        about=(
            "An answer arrives that was computed for the task before. It is recognized by its number and never "
            "executed."
        ),
        trial=policy_faults.earlier_episode,
    ),
    Fault(
        number=27,
        name="memory growth over a long run",
        reaction="none",
        bound="slope within noise",
        about="The runtime runs for longer. Its memory must not grow.",
        trial=machine_faults.memory,
    ),
    Fault(
        number=28,
        name="bundle changed, truncated, link, forged, bomb",
        reaction="refuse to load, name the file",
        bound="at load",
        about=(
            "The policy's files on disk were changed, cut off or forged. They are refused before any of them is loaded."
        ),
        trial=bundle_faults.tampered,
        paced=False,
    ),
)


def faults_of(numbers: list[int] | None) -> tuple[Fault, ...]:
    """The faults with these numbers, in the order of FAULTS; all for None. Raises BadInputError for an unknown one."""
    known = {fault.number for fault in FAULTS}
    if unknown := sorted(set(numbers or ()) - known):
        raise BadInputError(f"unknown faults {unknown}; expected {min(known)} to {max(known)}")
    return FAULTS if numbers is None else tuple(fault for fault in FAULTS if fault.number in numbers)
