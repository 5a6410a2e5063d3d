"""The state that processes publish about themselves: where the control loop is, and the phase of each child process."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MOVING = 2**62  # later than any time


class Phase(IntEnum):
    """Phase of a child process, in the field `phase` of its board."""

    STARTING = 0
    OPENING = 1
    RUNNING = 2
    WORKING = 3
    ENDED = 4

    @property
    def ready(self) -> bool:
        """Whether the process has opened its device or loaded its policy, and still runs."""
        return self in (Phase.RUNNING, Phase.WORKING)


@dataclass
class LoopState:
    """Where the control loop is. The policy reads it to decide what its next chunk has to continue.

    Attributes:
        episode: stretch of motion; chunks of an earlier one are refused.
        request: number of the last chunk that the loop has judged, -1 before the first.
        resting_since_ns: since when the hand has been held at rest, waiting for a chunk; MOVING while it is not.
        playing: request number of the chunk being executed, -1 while there is none.
        playing_from_ns: time from which on the targets of that chunk count.
    """

    episode: int = 1
    request: int = -1
    resting_since_ns: int = 0
    playing: int = -1
    playing_from_ns: int = 0

    def rests_since(self, at_ns: int) -> bool:
        """Whether the hand has been at rest since `at_ns` or longer."""
        return self.resting_since_ns <= at_ns
