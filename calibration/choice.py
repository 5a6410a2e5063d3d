"""Choose the layers that run in INT8: the largest share whose expected error is within budget.

Rounding errors of different layers are independent, so their squares add up: measured on the golden xhand policy, the
root of the sum over 293 layers is 1.38 %, all of them together give 1.33 %. Layers are therefore excluded from INT8 in
the order of squared error per multiply-accumulate, the largest first.
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
        high: layers that could run in INT8 but keep their precision, the costliest first.
        share: of all multiply-accumulates, in INT8.
        expected_error: root of the sum of squares over the layers in INT8.
    """

    high: tuple[Layer, ...]
    share: float
    expected_error: float


def choices(layers: Sequence[Layer], total_macs: int) -> list[Choice]:
    """Choices from every layer in INT8 to none, one layer fewer each time."""
    order = _ordered(layers)
    return [_choice(order[:i], order[i:], total_macs) for i in range(len(order) + 1)]


def largest_share_within(layers: Sequence[Layer], total_macs: int, error: float) -> Choice:
    """The choice with the most multiply-accumulates in INT8 that was found with an expected error of at most `error`.

    The first of the `choices` that fits may exclude a larger layer than necessary. Its last step is therefore replaced
    by the smallest layer that suffices, and then every layer that still fits is added back.
    """
    order, limit = _ordered(layers), math.copysign(error * error, error)
    start = next(i for i in range(len(order) + 1) if _total(order[i:]) <= limit or i == len(order))
    if start == 0:
        return _choice([], order, total_macs)
    first, tried = order[: start - 1], order[start - 1 :]
    enough = [i for i in range(len(tried)) if _total(tried[:i] + tried[i + 1 :]) <= limit]
    last = tried.pop(min(enough, key=lambda i: tried[i].macs) if enough else 0)
    high: list[Layer] = []
    kept = tried
    for layer in sorted([*first, last], key=lambda layer: layer.macs, reverse=True):
        (kept if _total([*kept, layer]) <= limit else high).append(layer)
    return _choice(sorted(high, key=_cost, reverse=True), kept, total_macs)


def _ordered(layers: Sequence[Layer]) -> list[Layer]:
    return sorted(layers, key=_cost, reverse=True)


def _cost(layer: Layer) -> float:
    return _squared(layer) / max(layer.macs, 1)


def _squared(layer: Layer) -> float:
    """Infinite for a NaN error: INT8 broke the policy."""
    return math.inf if math.isnan(layer.error) else layer.error * layer.error


def _total(layers: Sequence[Layer]) -> float:
    return sum(map(_squared, layers))


def _choice(high: Sequence[Layer], kept: Sequence[Layer], total_macs: int) -> Choice:
    return Choice(
        high=tuple(high),
        share=sum(layer.macs for layer in kept) / max(total_macs, 1),
        expected_error=math.sqrt(_total(kept)),
    )


def layers_from(macs: Mapping[tuple[str, str], int], errors: Mapping[tuple[str, str], float]) -> list[Layer]:
    """Layers by (stage, name); one without a measured error does not run in INT8."""
    return [
        Layer(stage=stage, name=name, macs=count, error=errors.get((stage, name), math.inf))
        for (stage, name), count in macs.items()
    ]
