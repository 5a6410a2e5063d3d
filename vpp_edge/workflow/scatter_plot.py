"""Draw a small scatter plot as SVG, which browsers and repository pages show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 720, 420, 70, 60, 40
_TEXT = 'font-family="sans-serif" font-size="13" fill="#333"'


def scatter_svg(points: Sequence[tuple[float, float, str]], across: str, up: str, title: str) -> str:
    """Points joined by a line, from zero in both directions.

    Args:
        points: (x, y, label), none negative.
        across, up: labels of the axes.
    """
    largest = (max(px for px, _, _ in points), max(py for _, py, _ in points))
    steps = [_step(value) for value in largest]
    tops = [_up(value, step) for value, step in zip(largest, steps, strict=True)]

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _EDGE) * value / tops[0]

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _EDGE) * value / tops[1]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_WIDTH / 2}" y="22" text-anchor="middle" {_TEXT}>{escape(title)}</text>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 14}" text-anchor="middle" {_TEXT}>{escape(across)}</text>',
        f'<text transform="translate(18 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle" {_TEXT}>{escape(up)}</text>',
    ]
    for tick in _ticks(tops[0], steps[0]):
        parts.append(f'<path d="M{x(tick):.1f} {y(0):.1f}V{_EDGE}" stroke="#eee"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle" {_TEXT}>{tick:g}</text>')
    for tick in _ticks(tops[1], steps[1]):
        parts.append(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _EDGE}" stroke="#eee"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" {_TEXT}>{tick:g}</text>')
    line = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py, _ in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#2a6fbb" stroke-width="1.5"/>')
    for px, py, label in points:
        parts.append(f'<circle cx="{x(px):.1f}" cy="{y(py):.1f}" r="4" fill="#2a6fbb"/>')
        parts.append(f'<text x="{x(px) - 6:.1f}" y="{y(py) - 8:.1f}" text-anchor="end" {_TEXT}>{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _step(top: float) -> float:
    """1, 2 or 5 times a power of ten, about a sixth of the axis."""
    rough = max(top, 1e-9) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough)


def _up(value: float, step: float) -> float:
    return math.ceil(max(value, 1e-9) / step) * step


def _ticks(top: float, step: float) -> list[float]:
    return [i * step for i in range(round(top / step) + 1)]
