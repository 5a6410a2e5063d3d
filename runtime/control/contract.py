"""What the control loop is told and what it tells: its settings, its link to the other processes, its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.chunk_player import Chunk
from vpp_edge.runtime.control.statistics import LoopReport
from vpp_edge.runtime.interfaces import HandState

MOVING = 2**62  # later than any time


@dataclass
class Stand:
    """Where the loop stands; the policy reads it to know what its next observation would be.

    Attributes:
        episode: stretch of motion; chunks of an earlier one are refused.
        request: number of the last chunk that the loop has judged, -1 before the first.
        resting_since_ns: since when the hand is held without moving, waiting for a chunk; MOVING while it is not.
        playing: number of the request whose chunk is executed, -1 while none is; `playing_from_ns`: when it began.
    """

    episode: int = 1
    request: int = -1
    resting_since_ns: int = 0
    playing: int = -1
    playing_from_ns: int = 0


class ControlLink(Protocol):
    """What the loop is connected to. No call may block or take longer than a small part of a period."""

    def take_chunk(self) -> Chunk | None:
        """The next chunk that has arrived, oldest first, or None."""

    def policy_lost(self) -> bool:
        """Whether the policy process has died since the last call."""

    def publish(self, state: HandState, command: np.ndarray, stand: Stand) -> None:
        """Makes the measured state visible to policy, simulator and recorder."""

    def log_tick(self, slot_ns: int, late_ns: int, state: HandState, command: np.ndarray, holding: bool) -> None:
        """Keeps a tick for the recording, or drops and counts it."""

    def log_chunk(self, chunk: Chunk, now_ns: int, verdict: str, dropped: int) -> None:
        """Keeps what became of a chunk: `used`, `rejected`, `late` or `old`."""


@dataclass(frozen=True)
class ControlSettings:
    """How the loop runs.

    Attributes:
        period_ns: control period T.
        late_ns: a tick that wakes later than this counts as late.
        duration_ns: time from the first chunk to the stop; None for no end.
        stop_ns: longest deceleration before the hand is held in any case.
        dry_run: compute everything, send nothing.
    """

    period_ns: int = 10_000_000
    late_ns: int = 2_000_000
    duration_ns: int | None = None
    stop_ns: int = 500_000_000
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("period_ns", "late_ns", "stop_ns"):
            if getattr(self, name) <= 0:
                raise BadInputError(f"control settings: {name} is {getattr(self, name)}, expected a positive number")
        if self.duration_ns is not None and self.duration_ns <= 0:
            raise BadInputError(f"control settings: duration_ns is {self.duration_ns}, expected positive or None")


@dataclass(frozen=True)
class ChunkCounts:
    """What became of the chunks that arrived.

    Attributes:
        used: executed, at least in part; `actions_dropped` of theirs were late.
        waited_for: of those, how many began only when they came, because the hand had rested since their observation.
        rejected: NaN, Inf or wrong shape; `late`: all its actions had passed; `old`: of an earlier request or episode.
        holds: times the hand came to a hold because no chunk was live.
    """

    used: int
    waited_for: int
    rejected: int
    late: int
    old: int
    actions_dropped: int
    holds: int


@dataclass(frozen=True)
class ControlReport:
    """How a run went and ended.

    Attributes:
        ended: in words, e.g. `Ctrl-C: hand held`.
        failed: whether an error ended it; `held`: whether the hand was told to hold.
        clamps: ticks per kind of limit (limits.ClampCounts).
    """

    ended: str
    failed: bool
    held: bool
    loop: LoopReport
    chunks: ChunkCounts
    clamps: dict[str, int]
    stop_ms: float
