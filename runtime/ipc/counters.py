"""Every counter of a run, defined once: boards, report, metrics, log and chaos trials take fields and words from here.

A new counter is one field of one of these dataclasses, and the line that increments it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from vpp_edge.runtime.ipc.rings.board import Board

Counts = TypeVar("Counts")


class Metric(NamedTuple):
    """A field of a board as a Prometheus metric; `kind` is `counter` or `gauge`."""

    field: str
    name: str
    kind: str
    help: str


def _counter(metric: str, text: str, summary: str = "") -> Any:
    """A field that only grows: its metric, its explanation, and its noun phrase in a report's summary line."""
    return field(default=0, metadata={"metric": metric, "kind": "counter", "help": text, "summary": summary})


def _gauge(metric: str, text: str) -> Any:
    return field(default=0, metadata={"metric": metric, "kind": "gauge", "help": text, "summary": ""})


class Verdict(str, Enum):
    """What the control loop decided about a chunk. The names are kept in recordings and logs."""

    USED = "used"
    REJECTED = "rejected"
    LATE = "late"
    OLD = "old"


@dataclass
class ChunkCounts:
    """What happened to the chunks of a run."""

    used: int = _counter("chunks_used_total", "Chunks executed, at least in part.", "used")
    waited_for: int = _counter(
        "chunks_waited_for_total",
        "Chunks that started on arrival because the hand had rested since their observation.",
        "after the hand had waited",
    )
    rejected: int = _counter("chunks_rejected_total", "Chunks with NaN, Inf or a wrong shape.", "rejected")
    late: int = _counter("chunks_late_total", "Chunks that arrived after the time of all their actions.", "too late")
    old: int = _counter("chunks_old_total", "Chunks of an earlier request or episode.", "of an earlier request")
    lost: int = _counter(
        "chunks_lost_total", "Chunks dropped because the ring to the control loop was full.", "lost in a full ring"
    )
    actions_dropped: int = _counter(
        "chunk_actions_dropped_total", "Actions of used chunks whose time had passed.", "late actions dropped"
    )
    holds: int = _counter(
        "control_holds_total", "Times the hand came to a hold because no chunk was left.", "holds without a chunk"
    )


@dataclass(frozen=True)
class LoopCounts:
    """How the control loop keeps time."""

    ticks: int = _counter("control_ticks_total", "Periods served by the control loop.")
    missed: int = _counter("control_missed_total", "Periods that the control loop was too late for.")
    late_ticks: int = _counter(
        "control_late_total",
        "Periods missed, or served more than control_late_limit_nanoseconds late.",
    )
    late_limit_ns: int = _gauge("control_late_limit_nanoseconds", "Lateness from which on a period counts as late.")
    moving: int = _gauge("control_moving", "1 from the first chunk on.")


@dataclass(frozen=True)
class PolicyCounts:
    """What the policy process did.

    Attributes:
        inferences: chunks computed; `looks`: observations that they were made from.
        stale_waits: times that its newest frames were older than two frame periods.
        apart_waits: times that its views were more than one frame period apart.
    """

    inferences: int = _counter("policy_inferences_total", "Chunks computed.")
    looks: int = _counter("policy_looks_total", "Observations that chunks were computed from.")
    stale_waits: int = _counter("policy_stale_waits_total", "Waits for frames newer than two frame periods.")
    apart_waits: int = _counter("policy_apart_waits_total", "Waits for views within one frame period of each other.")


@dataclass(frozen=True)
class CameraCounts:
    """What happened to a camera's frames. `delivered` + `dropped` + `overwritten` are all frames that the device made.

    Attributes:
        delivered: published by the camera process.
        dropped: counted by the device and never received.
        overwritten: received, and replaced by newer ones in the driver's queue.
        repeated: frames with the number, or of a real sensor the image, of the one before: a frozen camera.
        timeouts: times that nothing new came in time.
    """

    delivered: int = _counter("camera_frames_total", "Frames delivered.")
    dropped: int = _counter("camera_dropped_total", "Frames missing in the device's counter.")
    overwritten: int = _counter("camera_overwritten_total", "Frames replaced in the driver's queue before being read.")
    repeated: int = _counter("camera_repeated_total", "Frames that came again.")
    timeouts: int = _counter("camera_timeouts_total", "Times a camera delivered nothing new in time.")


def names_of(counts: type) -> tuple[str, ...]:
    """The fields of one of these dataclasses, which are those of its board."""
    return tuple(f.name for f in fields(counts))


def metrics_of(counts: type) -> list[Metric]:
    """Its fields as metrics."""
    return [Metric(f.name, f.metadata["metric"], f.metadata["kind"], f.metadata["help"]) for f in fields(counts)]


def summary_of(counts: ChunkCounts) -> str:
    """`12 used, 0 after the hand had waited, ...`: one line for people."""
    return ", ".join(f"{getattr(counts, f.name)} {f.metadata['summary']}" for f in fields(counts))


def write_counts(board: Board, counts: Any) -> None:
    """Publishes all fields of `counts` on its board."""
    for name in names_of(type(counts)):
        board[name] = getattr(counts, name)


def read_counts(board: Board, counts: type[Counts]) -> Counts:
    """The counts that a board holds now."""
    return counts(**{name: board[name] for name in names_of(counts)})
