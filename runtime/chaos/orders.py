"""Orders from a trial to the camera and policy processes: which fault to cause next, in shared memory.

Every field has one writer: the trial writes orders, a camera or the policy writes that an order is done.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from vpp_edge.runtime.ipc.rings.board import Board

FIELDS = (
    "camera",
    "camera_view",
    "camera_order",
    "camera_done",
    "policy",
    "policy_delay_ms",
    "policy_order",
    "policy_done",
    "clock_offset_s",
)
Target = Literal["camera", "policy"]


class CameraFault(IntEnum):
    """Faults of a camera. DROP and HANG happen once, the others last until the next order."""

    NONE = 0
    DROP = 1
    STALE = 2
    SILENT = 3
    HANG = 4
    FREEZE = 5
    SKEW = 6


class PolicyFault(IntEnum):
    """Faults of the policy. SLOW and FAIL happen once, the others last until the next order."""

    NONE = 0
    SLOW = 1
    NAN = 2
    JUMP = 3
    FAIL = 4


class FaultOrders:
    """Orders in shared memory. Picklable while a child is spawned."""

    def __init__(self, board: Board | None = None) -> None:
        self._board = board or Board(FIELDS, "chaos")

    def __reduce__(self) -> tuple:
        return type(self), (self._board,)

    def order_camera(self, fault: CameraFault, view: int) -> None:
        """Orders a fault of the camera of one view."""
        self._board["camera_view"] = view
        self._order("camera", fault)

    def order_policy(self, fault: PolicyFault, delay_ms: int = 0) -> None:
        """Orders a fault of the policy; SLOW delays one inference by `delay_ms`."""
        self._board["policy_delay_ms"] = delay_ms
        self._order("policy", fault)

    def set_clock_offset(self, seconds: int) -> None:
        """Sets the wall clock ahead for all processes of the run that call `apply_clock_offset`."""
        self._board["clock_offset_s"] = seconds

    def _order(self, target: Target, fault: IntEnum) -> None:
        self._board[target] = 0
        self._board[f"{target}_order"] = self._board[f"{target}_order"] + 1
        self._board[target] = fault

    def camera_fault(self, view: int) -> CameraFault:
        """The current order for the camera of a view."""
        return CameraFault(self._board["camera"]) if self._board["camera_view"] == view else CameraFault.NONE

    @property
    def policy_fault(self) -> PolicyFault:
        """The current order for the policy."""
        return PolicyFault(self._board["policy"])

    @property
    def policy_delay_ms(self) -> int:
        return self._board["policy_delay_ms"]

    @property
    def clock_offset_s(self) -> int:
        return self._board["clock_offset_s"]

    def done(self, target: Target) -> bool:
        """Whether the current order has been carried out."""
        return self._board[f"{target}_done"] == self._board[f"{target}_order"]

    def take(self, target: Target) -> bool:
        """Marks the current order as done. Returns whether it was still open."""
        order = self._board[f"{target}_order"]
        was_open = self._board[f"{target}_done"] != order
        self._board[f"{target}_done"] = order
        return was_open

    def close(self) -> None:
        """Unmaps the shared memory; the process that created it also removes it."""
        self._board.close()
