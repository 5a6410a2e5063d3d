"""What a run shows while it goes: status, snapshots, and the callbacks that receive them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vpp_edge.runtime.control.loop import ControlLoop
    from vpp_edge.runtime.ipc.channels import Channels


@dataclass(frozen=True)
class Status:
    """What the status line shows.

    Attributes:
        seconds: since the first chunk, or since the start before it.
        waiting_for: what is missing before the hand can move; empty while it moves.
        news: what has just happened; empty otherwise.
    """

    seconds: float
    waiting_for: str
    policy_hz: float
    loop_hz: float
    late_share: float
    chunks: int
    news: str = ""

    def line(self) -> str:
        if self.waiting_for:
            return f"{self.seconds:5.1f} s  waiting for {self.waiting_for}"
        return (
            f"{self.seconds:5.1f} s  policy {self.policy_hz:.1f} Hz  loop {self.loop_hz:.1f} Hz  "
            f"late {self.late_share:.2%}  chunks {self.chunks}"
        )


@dataclass(frozen=True)
class Snapshot:
    """The run at one moment, for pictures.

    Attributes:
        images: per view (height, width, 3) uint8 RGB, or None before its first frame.
        vector: (7 + J,) measured pose.
        command: (7 + J,) pose that was sent.
        seconds: since the session began.
    """

    images: list[np.ndarray | None]
    vector: np.ndarray
    command: np.ndarray
    seconds: float


@dataclass(frozen=True)
class RunHooks:
    """Callbacks of a run. They share the interpreter with the control loop, so they must be quick.

    Attributes:
        on_status: called twice a second, and at once when there is news; may print.
        on_snapshot: called every `snapshot_ns`.
        on_poll: called 20 times a second, for what takes the hand from one episode to the next.
    """

    on_status: Callable[[Status], None] | None = None
    on_snapshot: Callable[[Snapshot], None] | None = None
    on_poll: Callable[[ControlLoop, Channels], None] | None = None
    snapshot_ns: int = 100_000_000
