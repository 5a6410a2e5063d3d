"""Which layers run in INT8: in, how sensitive each one is; out, the largest share whose expected error is in budget.

Rounding errors of different layers are independent, so their squares add up: measured on the golden xhand policy, the
root of the sum over 293 layers is 1.38 %, all of them together give 1.33 %. The order in which layers are taken
out of INT8 is therefore that of squared error per multiply-accumulate, the largest first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer of the search.

    Attributes:
        macs: multiply-accumulates of its products.
        error: relative RMS error of the actions when it alone runs in INT8.
    """

    stage: str
    name: str
    macs: int
    error: float


@dataclass(frozen=True)
class Choice:
    """Layers in INT8.

    Attributes:
        high: layers that keep their precision though they could run in INT8, the costliest first.
        share: of all multiply-accumulates, in INT8.
        expected_error: root of the sum of squares over the layers in INT8.
    """

    high: tuple[Layer, ...]
    share: float
    expected_error: float


def choices(layers: Sequence[Layer], total_macs: int) -> list[Choice]:
    """From everything in INT8 to nothing, one layer fewer each time."""
    order = sorted(layers, key=lambda layer: _squared(layer) / max(layer.macs, 1), reverse=True)
    found = []
    for i in range(len(order) + 1):
        kept = order[i:]
        error = math.sqrt(sum(_squared(layer) for layer in kept))
        found.append(Choice(tuple(order[:i]), sum(layer.macs for layer in kept) / max(total_macs, 1), error))
    return found


def _squared(layer: Layer) -> float:
    """Infinite for an error that is no number: INT8 broke the policy."""
    return math.inf if math.isnan(layer.error) else layer.error * layer.error


def largest_share_within(found: Sequence[Choice], error: float) -> Choice:
    """The first choice whose expected error is at most `error`; the last one, without INT8, is within every budget."""
    return next((c for c in found if c.expected_error <= error), found[-1])


def layers_from(macs: Mapping[tuple[str, str], int], errors: Mapping[tuple[str, str], float]) -> list[Layer]:
    """Layers by (stage, name); one without a measured error is left out of INT8."""
    return [Layer(stage, name, count, errors.get((stage, name), math.inf)) for (stage, name), count in macs.items()]
