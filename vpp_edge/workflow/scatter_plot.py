"""Draw a small scatter plot as SVG, for a page whose colours it takes: `currentColor`, --line and --accent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 480, 360, 56, 52, 24  # small, so that letters stay readable on a phone
_TEXT = 'font-family="sans-serif" font-size="14" fill="currentColor"'
_LETTER, _LINE = 8.0, 16.0  # size of a letter, at most
_DOT = 4.0


class Box(NamedTuple):
    """A rectangle of the plot; y grows downward."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def scatter_svg(
    points: Sequence[tuple[float, float, str]],
    across: str,
    up: str,
    title: str,
    *,
    others: Sequence[tuple[float, float]] = (),
) -> str:
    """Points joined by a line, from zero in both directions. No label covers another one or a point; where
    there is no room for one, it is left out.

    Args:
        points: (x, y, label), none negative.
        across, up: labels of the axes.
        title: for readers who cannot see the plot.
        others: further points (x, y), drawn as circles beside the line.
    """
    known = [*others, *((px, py) for px, py, _ in points)]
    largest = (max(px for px, _ in known), max(py for _, py in known))
    steps = [_step(value) for value in largest]
    tops = [_up(value, step) for value, step in zip(largest, steps, strict=True)]

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _EDGE) * value / tops[0]

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _EDGE) * value / tops[1]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle" {_TEXT}>{escape(across)}</text>',
        f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle" {_TEXT}>{escape(up)}</text>',
    ]
    for tick in _ticks(tops[0], steps[0]):
        parts.append(f'<path d="M{x(tick):.1f} {y(0):.1f}V{_EDGE}" stroke="var(--line)"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle" {_TEXT}>{tick:g}</text>')
    for tick in _ticks(tops[1], steps[1]):
        parts.append(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _EDGE}" stroke="var(--line)"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" {_TEXT}>{tick:g}</text>')
    places = [(x(px), y(py)) for px, py, _ in points]
    line = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="var(--accent)" stroke-width="1.5"/>')
    beside = [(x(px), y(py)) for px, py in others]
    parts += [
        f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{_DOT:g}" fill="none" stroke="currentColor"/>' for px, py in beside
    ]
    boxes = label_boxes(places, [label for _, _, label in points], beside)
    for (px, py), box, (_, _, label) in zip(places, boxes, points, strict=True):
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{_DOT:g}" fill="var(--accent)"/>')
        if box is None:
            continue
        parts.append(f'<path d="M{px:.1f} {py:.1f}L{_nearest(box, px, py)}" stroke="currentColor" opacity=".35"/>')
        middle, base = (box.left + box.right) / 2, box.bottom - 3
        parts.append(f'<text x="{middle:.1f}" y="{base:.1f}" text-anchor="middle" {_TEXT}>{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def label_boxes(
    places: Sequence[tuple[float, float]], labels: Sequence[str], beside: Sequence[tuple[float, float]] = ()
) -> list[Box | None]:
    """A place for each label, as near to its point as others, the line and points beside it leave room; or None."""
    on_line = (between for pair in pairwise(places) for between in _between(*pair))
    taken = [Box(px - _DOT, py - _DOT, px + _DOT, py + _DOT) for px, py in (*places, *on_line, *beside)]
    boxes: list[Box | None] = []
    for (px, py), label in zip(places, labels, strict=True):
        box = next((box for box in _candidates(px, py, label) if not any(map(box.meets, taken))), None)
        boxes.append(box)
        taken += [] if box is None else [box]
    return boxes


def _between(a: tuple[float, float], b: tuple[float, float]) -> Iterator[tuple[float, float]]:
    """Points on the line from one to another, close to each other."""
    count = math.ceil(math.dist(a, b) / _DOT)
    for i in range(1, count):
        yield a[0] + (b[0] - a[0]) * i / count, a[1] + (b[1] - a[1]) * i / count


def _candidates(px: float, py: float, label: str) -> Iterator[Box]:
    """Boxes inside the plot around a point, further and further away."""
    width = _LETTER * len(label)
    for distance in range(6, _WIDTH, 6):
        for angle in (135, 45, 90, 225, 315, 270, 180, 0):
            middle = px + (distance + width / 2) * math.cos(math.radians(angle))
            center = py - (distance + _LINE / 2) * math.sin(math.radians(angle))
            box = Box(middle - width / 2, center - _LINE / 2, middle + width / 2, center + _LINE / 2)
            if box.left >= _LEFT and box.right <= _WIDTH and box.top >= 0 and box.bottom <= _HEIGHT - _BOTTOM:
                yield box


def _nearest(box: Box, px: float, py: float) -> str:
    """The point of a box that is nearest to another one, as SVG writes it."""
    return f"{min(max(px, box.left), box.right):.1f} {min(max(py, box.top), box.bottom):.1f}"


def _step(top: float) -> float:
    """1, 2 or 5 times a power of ten, about a sixth of the axis."""
    rough = max(top, 1e-9) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough)


def _up(value: float, step: float) -> float:
    return math.ceil(max(value, 1e-9) / step) * step


def _ticks(top: float, step: float) -> list[float]:
    return [i * step for i in range(round(top / step) + 1)]
