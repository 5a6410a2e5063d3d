"""How a trial tells the other processes what shall go wrong: in, orders of the trial; out, who asks is told.

Every field has one writer: the trial gives orders, a camera or the policy notes that it has served one.
"""

from __future__ import annotations

from vpp_edge.runtime.ipc.rings import Board

NOTHING = 0
DROP, STALE, SILENT, HANG, FREEZE, SKEW = range(1, 7)  # of a camera
SLOW, NAN, WILD, FAIL = range(1, 5)  # of the policy
FIELDS = (
    "camera",
    "camera_view",
    "camera_order",
    "camera_served",
    "policy",
    "policy_ms",
    "policy_order",
    "policy_served",
    "clock_s",
)


class Switch:
    """Orders in shared memory. Picklable while a child is spawned."""

    def __init__(self, board: Board | None = None) -> None:
        self._board = board or Board(FIELDS, "chaos")

    def __reduce__(self) -> tuple:
        return type(self), (self._board,)

    def camera(self, fault: int, view: int) -> None:
        """What the camera of a view does from now on: DROP and HANG once, the others until the next order."""
        self._board["camera_view"] = view
        self._order("camera", fault)

    def policy(self, fault: int, milliseconds: int = 0) -> None:
        """What the policy does from now on: SLOW (by so much) and FAIL once, the others until the next order."""
        self._board["policy_ms"] = milliseconds
        self._order("policy", fault)

    def step_clock(self, seconds: int) -> None:
        """Sets the wall clock forward, as children and control see it."""
        self._board["clock_s"] = seconds

    def _order(self, who: str, fault: int) -> None:
        self._board[who] = NOTHING
        self._board[f"{who}_order"] = self._board[f"{who}_order"] + 1
        self._board[who] = fault

    def camera_fault(self, view: int) -> int:
        """What the camera of a view shall do."""
        return self._board["camera"] if self._board["camera_view"] == view else NOTHING

    @property
    def policy_fault(self) -> int:
        return self._board["policy"]

    @property
    def policy_ms(self) -> int:
        return self._board["policy_ms"]

    @property
    def clock_s(self) -> int:
        return self._board["clock_s"]

    def served(self, who: str) -> bool:
        """Whether the present order has been served."""
        return self._board[f"{who}_served"] == self._board[f"{who}_order"]

    def serve(self, who: str) -> bool:
        """Whether the present order of the `camera` or `policy` has not been served yet; it counts as served now."""
        order = self._board[f"{who}_order"]
        fresh = self._board[f"{who}_served"] != order
        self._board[f"{who}_served"] = order
        return fresh

    def close(self) -> None:
        """Unmaps the orders; in the process that gave them also removes them."""
        self._board.close()
