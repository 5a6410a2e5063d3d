"""What a sweep found: in, its points; out, which of them no other one beats, and a table of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vpp_edge.bundle.success_rate import SuccessRate


@dataclass(frozen=True)
class Point:
    """A policy at one precision and number of acts per look, measured.

    Attributes:
        name: of its bundle. `student`: of its specification, or `teacher`.
        steps: of its action head.
        operations: of matrix products of an inference, 2 per multiply-accumulate.
        predicted_ms: of one chunk, by device: `perceive` shared by the acts on it, and `act`.
        latency_ms: the same measured on this machine, the median; `speedup`: the teacher's over it, measured in turns.
        action_rms: error of its normalized actions against the float32 teacher's, same noise, on held-out observations.
        token_error: of its float32 tokens, over the error of their mean; None with the teacher's video model.
        teacher_spread: deviation of the teacher's normalized actions over noise, on the same observations, where known.
        problems: of its certificate, for which `run` refuses the bundle.
        success: in closed loop, `press_s`: median time to a success. None where nothing was played.
    """

    name: str
    student: str
    steps: int
    precision: str
    acts_per_look: int
    operations: int
    predicted_ms: Mapping[str, float]
    action_rms: float
    token_error: float | None = None
    teacher_spread: float | None = None
    problems: tuple[str, ...] = ()
    latency_ms: float | None = None
    speedup: float | None = None
    success: SuccessRate | None = None
    press_s: float | None = None

    @property
    def label(self) -> str:
        """Its name, with its acts per look if it has several."""
        return self.name if self.acts_per_look == 1 else f"{self.name}-acts{self.acts_per_look}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "success": None if self.success is None else self.success.to_json()}


def front(points: Sequence[Point], device: str) -> list[Point]:
    """The points that no other one beats in latency, predicted for the device, and error; the fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.predicted_ms[device], p.action_rms)):
        if not best or point.action_rms < best[-1].action_rms:
            best.append(point)
    return best


def spread_words(points: Sequence[Point]) -> str:
    """The teacher's spread over noise in words, beside which an error means something; empty if it is not known."""
    spread = next((point.teacher_spread for point in points if point.teacher_spread is not None), None)
    return "" if spread is None else f"{spread:.4f}"


def table_of(points: Sequence[Point], device: str) -> Iterator[tuple[Point, bool, dict[str, str]]]:
    """Each point, whether it is in the front, and its values in words by the head of their column; the slowest first.

    Columns without any value are left out.
    """
    best = {id(point) for point in front(points, device)}
    rows = [(point, _cells(point, device)) for point in sorted(points, key=lambda p: -p.predicted_ms[device])]
    empty = {head for head in rows[0][1] if not any(cells[head] for _, cells in rows)}
    for point, cells in rows:
        yield point, id(point) in best, {head: text for head, text in cells.items() if head not in empty}


def _cells(point: Point, device: str) -> dict[str, str]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else form.format(value)

    return {
        "head steps": str(point.steps),
        "precision": point.precision,
        "acts per look": str(point.acts_per_look) if point.acts_per_look > 1 else "",
        "GOP": f"{point.operations / 1e9:.3g}",
        "predicted ms": f"{point.predicted_ms[device]:.2f}",
        "ms here": shown(point.latency_ms, "{:.1f}"),
        "speedup here": shown(point.speedup, "{:.2f}"),
        "action error": f"{point.action_rms:.4f}",
        "token error": shown(point.token_error, "{:.2f}"),
        "success": "" if point.success is None else str(point.success),
        "press s": shown(point.press_s, "{:.2f}"),
    }
