"""What the control loop is given and what it reports: its settings, its link to the other processes, its report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.statistics import LoopReport
from vpp_edge.runtime.interfaces import Chunk, HandState
from vpp_edge.runtime.ipc.counters import ChunkCounts, Verdict
from vpp_edge.runtime.ipc.loop_state import LoopState


class Cause(str, Enum):
    """Why a run ended, for programs; `ControlReport.ended` says it to people."""

    REQUESTED = "requested"
    SIGNAL = "signal"
    DURATION = "duration"
    NO_FIRST_CHUNK = "no-first-chunk"
    CHILD_FAILED = "child-failed"
    UNUSABLE_CHUNKS = "unusable-chunks"
    RUNAWAY = "runaway"
    OBSTRUCTED = "obstructed"
    OVERRUN = "overrun"
    HAND_FAULT = "hand-fault"
    BUG = "bug"


class ControlLink(Protocol):
    """What the loop is connected to. No call may block or take longer than a small part of a period."""

    def take_chunk(self) -> Chunk | None:
        """The next chunk that has arrived, oldest first, or None."""

    def chunks_lost(self) -> int:
        """How many chunks so far found the way to the loop full and were dropped."""

    def policy_lost(self) -> bool:
        """Whether the policy process has died since the last call."""

    def publish(self, state: HandState, command: np.ndarray, loop_state: LoopState) -> None:
        """Makes state and command visible to policy, simulator and recorder."""

    def log_tick(self, slot_ns: int, late_ns: int, state: HandState, command: np.ndarray, holding: bool) -> None:
        """Keeps a tick for the recording, or drops and counts it."""

    def log_chunk(self, chunk: Chunk, now_ns: int, verdict: Verdict, dropped: int) -> None:
        """Keeps what the loop decided about a chunk; `dropped`: how many of its actions had passed."""


@dataclass(frozen=True)
class ControlSettings:
    """How the loop runs.

    Attributes:
        period_ns: control period T.
        late_ns: a tick that wakes later than this counts as late.
        duration_ns: time from the first chunk to the stop; None for no end.
        stop_ns: longest deceleration; then the hand is held in any case.
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
class ControlReport:
    """How a run of the loop went and ended.

    Attributes:
        ended: why, and what became of the hand, e.g. `Ctrl-C: hand held`.
        cause: why, as one of a few.
        failed: whether an error ended it.
        held: whether the hand was told to hold.
        clamps: ticks per kind of limit (`limits.ClampCounts`).
        stop_ms: duration of the deceleration.
    """

    ended: str
    cause: Cause
    failed: bool
    held: bool
    loop: LoopReport
    chunks: ChunkCounts
    clamps: dict[str, int]
    stop_ms: float
