"""How a training went: in, the loss of every step and the held-out errors; out, a few of them, to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

MOST_POINTS = 100  # of each that a student's card keeps
Points = tuple[tuple[int, float], ...]
"""(step, value), in the order of the steps; a step counts from 1, its value is that after it."""


@dataclass(frozen=True)
class Curve:
    """The curve of one training.

    Attributes:
        losses: the mean of each since the point before.
        held_out: errors of the moving average of the weights when judged, from step 0 on; empty where nothing judged.
    """

    losses: Points
    held_out: Points

    @property
    def best(self) -> tuple[int, float] | None:
        """The lowest held-out error, the last one of several: its weights stay."""
        return min(reversed(self.held_out), key=lambda point: point[1], default=None)

    def thinned(self, most: int = MOST_POINTS) -> Curve:
        """At most so many losses, each the mean of equally many steps, and so many errors, with the best and the last.

        Args:
            most: from 2 on.
        """
        pace = -(-len(self.losses) // most)
        parts = [self.losses[start : start + pace] for start in range(0, len(self.losses), pace)]
        losses = tuple((part[-1][0], fmean(value for _, value in part)) for part in parts)
        stride = -(-len(self.held_out) // (most - 1))
        kept = {*self.held_out[:: -stride or 1], *([] if self.best is None else [self.best])}
        return Curve(losses=losses, held_out=tuple(sorted(kept)))


def curve_of(losses: Sequence[float], judged: Sequence[float], judge_every: int) -> Curve:
    """The curve of the losses of all steps, and of the errors at the start, every `judge_every` and at the end."""
    steps = [min(judge_every * i, len(losses)) for i in range(len(judged))]
    return Curve(losses=tuple(enumerate(losses, 1)), held_out=tuple(zip(steps, judged, strict=True)))
