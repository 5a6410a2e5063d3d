"""The parity certificate as text, as `export` and `inspect` print it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.separation import UNKNOWN
from vpp_edge.wording import counted

if TYPE_CHECKING:
    from vpp_edge.bundle.certificate import Certificate, SegmentError
    from vpp_edge.bundle.closed_loop import ClosedLoopRecord


def certificate_lines(certificate: Certificate, every_column: bool = False) -> list[str]:
    """Errors per tensor and, for the actions, in the units of the hand.

    Args:
        every_column: list each column of an action segment, such as each joint, not only the worst.
    """
    lines = [
        f"measured on {certificate.data}",
        f"  {'output':<12} {'stage alone':>23} {'end to end':>23}   allowed",
        f"  {'':<12} {'max error':>11} {'rel. RMS':>11} {'max error':>11} {'rel. RMS':>11}",
    ]
    for name, limit in certificate.limits.items():
        alone, chained = certificate.stages[name], certificate.end_to_end[name]
        cosine = f", cosine {chained.cosine:.5f}" if limit.measure == "cosine" else ""
        lines.append(
            f"  {name:<12} {alone.max_relative:>11.1e} {alone.rms_relative:>11.1e} {chained.max_relative:>11.1e} "
            f"{chained.rms_relative:>11.1e}   {limit}{cosine}"
        )
    for segment in certificate.physical:
        lines.append(segment_line(segment))
        if every_column and len(segment.rms) > 1:
            lines.append("    RMS of each: " + " ".join(f"{value:.2g}" for value in segment.rms))
    return [
        *lines,
        *int8_lines(certificate.int8),
        *separation_lines(certificate),
        *approximation_lines(certificate.approximations),
        *closed_loop_lines(certificate.closed_loop),
    ]


def segment_line(segment: SegmentError) -> str:
    """One line per segment; if it has several columns, such as joints, their worst."""
    worst_rms, largest = max(segment.rms), max(segment.largest)
    columns = f"worst of {len(segment.rms)}" if len(segment.rms) > 1 else ""
    unit = "" if segment.unit == "1" else f" {segment.unit}"
    return f"  {segment.name:<24} RMS {worst_rms:.2g}{unit}, largest {largest:.2g}{unit}  {columns}".rstrip()


def int8_lines(int8: dict[str, Any] | None) -> list[str]:
    """The share that runs in INT8, and how many other layers could."""
    if int8 is None:
        return []
    expected = "" if int8["expected_error"] is None else f", expected error {_percent(int8['expected_error'])}"
    return [
        f"INT8: {100 * int8['share']:.1f} % of all multiply-accumulates, budget {_percent(int8['budget'])}{expected}; "
        f"kept in FP16: {counted(len(int8['high']), 'layer')} that could run in INT8"
    ]


def separation_lines(certificate: Certificate) -> list[str]:
    """How what INT8 was judged on is set apart from the calibration; empty for other precisions."""
    if certificate.separation is None and certificate.int8 is None:
        return []
    return [(certificate.separation or UNKNOWN).line]


def approximation_lines(approximations: dict[str, Any] | None) -> list[str]:
    """How an approximate bundle differs from the trained policy; empty for an exact one."""
    if approximations is None:
        return []
    chosen, trained = approximations["options"], approximations["trained"]
    parts = [f"{chosen[n]} instead of {trained[n]} {n}" for n in ("steps", "frames") if chosen[n] != trained[n]]
    if chosen["solver"] != trained["solver"]:
        parts.append(f"solver {chosen['solver']} instead of {trained['solver']}")
    actions, tokens = approximations["actions"], approximations["tokens"]
    return [
        f"approximate: {', '.join(parts)}",
        f"  actions differ from the trained policy's by {_percent(actions['rms_relative'])} (relative RMS), "
        f"at most {_percent(actions['max_relative'])} of the largest; tokens by {_percent(tokens['rms_relative'])}",
    ]


def closed_loop_lines(record: ClosedLoopRecord | None) -> list[str]:
    """Success rates of the bundle and its reference; empty if none were measured."""
    if record is None:
        return []
    return [
        f"closed loop: {record.task}, {counted(record.policy.episodes, 'episode')}, "
        f"seed {record.seed}, world {record.world}, {record.chunking} (95 % intervals)",
        f"  {record.policy} succeed, with {record.reference_name} {record.reference}",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
