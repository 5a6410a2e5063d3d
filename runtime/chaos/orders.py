"""Orders of a trial to the other processes: which fault to cause next, in shared memory.

Every field has one writer: the trial gives orders, a camera or the policy notes that it has carried one out.
"""

from __future__ import annotations

from enum import IntEnum

from vpp_edge.runtime.ipc.rings.board import Board

FIELDS = (
    "camera",
    "camera_view",
    "camera_order",
    "camera_done",
    "policy",
    "policy_ms",
    "policy_order",
    "policy_done",
    "clock_s",
)


class CameraFault(IntEnum):
    """What a camera can be ordered to do. DROP and HANG happen once, the others last until the next order."""

    NONE = 0
    DROP = 1
    STALE = 2
    SILENT = 3
    HANG = 4
    FREEZE = 5
    SKEW = 6


class PolicyFault(IntEnum):
    """What the policy can be ordered to do. SLOW and FAIL happen once, the others last until the next order."""

    NONE = 0
    SLOW = 1
    NAN = 2
    WILD = 3
    FAIL = 4


class FaultOrders:
    """Orders in shared memory. Picklable while a child is spawned."""

    def __init__(self, board: Board | None = None) -> None:
        self._board = board or Board(FIELDS, "chaos")

    def __reduce__(self) -> tuple:
        return type(self), (self._board,)

    def camera(self, fault: CameraFault, view: int) -> None:
        """Orders a fault of the camera of a view."""
        self._board["camera_view"] = view
        self._order("camera", fault)

    def policy(self, fault: PolicyFault, milliseconds: int = 0) -> None:
        """Orders a fault of the policy; SLOW delays one inference by `milliseconds`."""
        self._board["policy_ms"] = milliseconds
        self._order("policy", fault)

    def step_clock(self, seconds: int) -> None:
        """Sets the wall clock ahead, as the child processes and control see it."""
        self._board["clock_s"] = seconds

    def _order(self, who: str, fault: IntEnum) -> None:
        self._board[who] = 0
        self._board[f"{who}_order"] = self._board[f"{who}_order"] + 1
        self._board[who] = fault

    def camera_fault(self, view: int) -> CameraFault:
        """The present order for the camera of a view."""
        return CameraFault(self._board["camera"]) if self._board["camera_view"] == view else CameraFault.NONE

    @property
    def policy_fault(self) -> PolicyFault:
        """The present order for the policy."""
        return PolicyFault(self._board["policy"])

    @property
    def policy_ms(self) -> int:
        return self._board["policy_ms"]

    @property
    def clock_s(self) -> int:
        return self._board["clock_s"]

    def done(self, who: str) -> bool:
        """Whether the present order of the `camera` or `policy` has been carried out."""
        return self._board[f"{who}_done"] == self._board[f"{who}_order"]

    def take(self, who: str) -> bool:
        """Marks the present order of the `camera` or `policy` as carried out; whether it was not before."""
        order = self._board[f"{who}_order"]
        fresh = self._board[f"{who}_done"] != order
        self._board[f"{who}_done"] = order
        return fresh

    def close(self) -> None:
        """Unmaps the orders; in the process that created them also removes them."""
        self._board.close()
