"""When a policy acts on the tokens of one look: as soon as they are ready, then evenly until the next ones are due.

Perceiving takes nearly all the time of an inference, while the hand's own state changes faster than the scene. So a
policy may act several times on one look, after the first time from the newest state of the hand. In a live run and in
simulated time alike.
"""

from __future__ import annotations

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import whole
from vpp_edge.runtime.policy.handover_modes import ENSEMBLE, SYNCHRONOUS

ACTS_PER_LOOK = whole(1, 16)


# Ensemble: acts of one look repeat what the same images say and would count as often; and the first chunk of the next
# look begins before the last one of this look, which has no pose for the moments in between.
_ONE_ACT = {
    SYNCHRONOUS: "plays every chunk to its end, so one act is all",
    ENSEMBLE: "averages what different looks say, and several acts would count one look several times",
}


def check_acts_per_look(acts: int, chunking: str) -> None:
    """Raises BadInputError for a number of acts that is out of range, or that this way of handing over cannot use."""
    ACTS_PER_LOOK.check("acts_per_look", acts)
    if acts > 1 and chunking in _ONE_ACT:
        raise BadInputError(
            f"{acts} acts per look with chunking {chunking}: it {_ONE_ACT[chunking]}; choose another --chunking, or "
            "--acts-per-look 1"
        )


class ActSchedule:
    """The times of the acts of one look after another.

    Args:
        acts_per_look: at most so many for each.

    Attributes:
        done: acts of the present look so far.
    """

    def __init__(self, acts_per_look: int) -> None:
        self._acts_per_look = acts_per_look
        self.done = acts_per_look
        self._due_ns = self._gap_ns = 0

    def begin(self, ready_ns: int, interval_ns: int) -> None:
        """The tokens of a look are ready, those of the next are expected `interval_ns` later."""
        self.done, self._due_ns, self._gap_ns = 0, ready_ns, interval_ns // self._acts_per_look

    @property
    def first(self) -> bool:
        """Whether the next act is the first one of its look."""
        return self.done == 0

    def due(self, now_ns: int) -> bool:
        """Whether it is time for an act."""
        return self.done < self._acts_per_look and now_ns >= self._due_ns

    def acted(self, now_ns: int) -> None:
        """An act has begun. One that was late delays those after it; they never come in a burst."""
        self.done += 1
        self._due_ns = max(self._due_ns, now_ns - self._gap_ns) + self._gap_ns

    def end(self) -> None:
        """No more acts until the next `begin`."""
        self.done = self._acts_per_look
