"""A student's card as text, as `distill` and `inspect` print it: what it costs and what it kept of its teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.certificate_text import closed_loop_lines, segment_line
from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    from vpp_edge.bundle.manifest import Manifest

DEVICES = ("orin-agx-64gb", "orin-nx-16gb", "orin-nano-super")  # of those in the card


def student_lines(card: Any) -> list[str]:
    """Of a card as `StudentCard.to_json` wrote it, or an earlier version.

    Raises:
        BadInputError: it is malformed.
    """
    try:
        return ["", "student", *_origin(card), *_errors(card), *_cost(card), *_training(card), *_played(card)]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, BadInputError) as error:
        raise BadInputError(
            f"the card of this student is malformed or of another version ({type(error).__name__}: {error})"
        ) from error


def readable_student_lines(card: Any) -> list[str]:
    """Lines for a card that may be damaged, which is then said; none where there is no card."""
    if card is None:
        return []
    try:
        return student_lines(card)
    except BadInputError as error:
        return ["", f"student   {error}"]


def certificate_note(manifest: Manifest) -> list[str]:
    """What the certificate of a student's bundle does not say; empty for other bundles."""
    from vpp_edge.bundle.manifest import STUDENT

    if STUDENT not in manifest.provenance:
        return []
    return [
        "These errors are the bundle's against the student. What the student lost against its teacher stands in its "
        "card (vpp-edge inspect)."
    ]


def _line(name: str, value: str) -> str:
    return f"  {name:<20} {value}"


def _origin(card: Mapping[str, Any]) -> Iterator[str]:
    spec = card.get("student")
    yield _line("teacher", f"policy file with SHA-256 {str(card['teacher_sha256'])[:16]}...")
    yield _line("video model", "the teacher's" if spec is None else _sizes(spec))
    levels = ", ".join(f"{sigma:g}" for sigma in card["sigmas"])
    yield _line("action head", f"{_steps(card['head_steps'])}, noise levels {levels}")
    yield _line("trained on", str(card["data"]))
    yield _line("measured on", f"{card['held_out']}, held out")


def _sizes(spec: Mapping[str, Any]) -> str:
    """Those that a specification states; the others are the teacher's."""
    encoder, parts = spec["encoder"], []
    if spec["frames"] is not None:
        parts.append(f"{spec['frames']} frames")
    if spec["width"] is not None:
        parts.append(f"UNet of {spec['width']:g} times the width")
    if spec["block_out_channels"] is not None:
        parts.append(f"UNet of widths {_numbers(spec['block_out_channels'])}")
    if spec["layers_per_block"] is not None:
        parts.append(f"layers per block: {spec['layers_per_block']}")
    if spec["extract_layer_idx"] is not None:
        parts.append(f"features of up block {spec['extract_layer_idx']}")
    if encoder["kind"] != "full":
        parts.append(f"{encoder['kind']} image encoder of widths {_numbers(encoder['block_out_channels'])}")
    return f"{spec['name']}: {'; '.join(parts) or 'sizes of the teacher'}"


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(f"{value:d}" for value in values)


def _steps(count: int) -> str:
    return f"{count:d} sampling {'step' if count == 1 else 'steps'}"


def _errors(card: Mapping[str, Any]) -> Iterator[str]:
    from vpp_edge.bundle.certificate import SegmentError  # loads numpy

    m, token_error = card["measures"], card.get("token_error")
    if token_error is not None:
        yield _line("error of tokens", f"{token_error:.2f} of that of their mean (RMS)")
    yield _line("error of actions", f"RMS {m['action_rms']:.4f}, normalized, from the same noise")
    yield _line("  under prefixes", f"RMS {m['action_rms_prefixed']:.4f}")
    yield _line("spread over noise", f"{m['student_spread']:.4f}, the teacher's {m['teacher_spread']:.4f}")
    yield _line("nearest chunk", f"the teacher's of the same noise in {100 * m['same_mode']:.1f} %")
    yield _line("follows a prefix", f"{m['student_following']:.2f}, the teacher {m['teacher_following']:.2f}")
    yield _line("seam to a prefix", f"{m['student_seam']:.4f}, the teacher's {m['teacher_seam']:.4f}")
    titles = {
        "student": "chunks of the student from the teacher's, same noise:",
        "noise": "two chunks of the teacher from one another, different noise:",
    }
    for which, segments in card.get("physical", {}).items():
        yield f"  {titles[which]}"
        for s in segments:
            yield "  " + segment_line(SegmentError(s["name"], s["unit"], tuple(s["rms"]), tuple(s["largest"]))).rstrip()


def _cost(card: Mapping[str, Any]) -> Iterator[str]:
    cost = card.get("cost")
    if cost is None:
        return
    own, taught, latency = cost["operations"], cost["teacher_operations"], cost["latency_ms"]
    parts = ", ".join(f"{part} {share:.1%}" for part, share in cost["share"].items())
    yield _line("operations", f"{sum(own.values()) / sum(taught.values()):.1%} of the teacher's: {parts}")
    yield _line("latency", "perceive + act, INT8, predicted, not measured; the teacher's in brackets:")
    for device in DEVICES:
        if device in latency:
            before = cost["teacher_latency_ms"][device]["int8"]
            yield _line("", f"{device:<16} {latency[device]['int8']:.1f} ms ({before:.1f} ms)")


def _training(card: Mapping[str, Any]) -> Iterator[str]:
    for name, curve in card.get("curves", {}).items():
        (_, first), (steps, last) = curve["losses"][0], curve["losses"][-1]
        held_out = ""
        if curve["held_out"]:
            step, error = min(curve["held_out"], key=lambda point: point[1])
            held_out = f"; best held-out error {error:.3g}, {f'after step {step}' if step else 'at the start'}"
        yield _line(f"training of {name}", f"loss {first:.3g} to {last:.3g} in {steps} steps{held_out}")


def _played(card: Mapping[str, Any]) -> Iterator[str]:
    from vpp_edge.bundle.closed_loop import closed_loop_from_json

    for record in card.get("closed_loop", []):
        yield from (f"  {line}" for line in closed_loop_lines(closed_loop_from_json(record)))
