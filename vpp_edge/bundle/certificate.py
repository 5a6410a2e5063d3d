"""The parity certificate: errors measured at export, kept in the manifest and checked by `vpp-edge run`.

It states how far the deployed policy is from the float32 one on given observations and the same noise: per stage, for
the whole chain, and for the actions in the units of the hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vpp_edge.bundle.closed_loop import ClosedLoopRecord, closed_loop_from_json
from vpp_edge.bundle.comparison import Comparison, worst_of
from vpp_edge.bundle.separation import Separation, separation_from_json
from vpp_edge.bundle.tensor_check import TensorCheck
from vpp_edge.bundle.tolerances import Limit
from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import PolicySpec

# Unit in which errors of a segment are shown, and how many of these make one unit of the segment.
_SHOWN = {"m": ("mm", 1000.0), "rad": ("rad", 1.0), "1": ("1", 1.0)}
_DEGREES = ("deg", 180 / math.pi)
# How a stage was run: on the reference's inputs, or on the outputs of the exported stages before it.
ALONE, END_TO_END = "alone", "end to end"


@dataclass(frozen=True)
class SegmentError:
    """Errors of one action segment in physical units.

    Attributes:
        name: kind of the segment and, where there are several arms, the arm.
        unit: `mm`, `deg`, `rad` or `1`.
        rms: per column of the segment, root mean square over all actions and observations.
        largest: per column.
    """

    name: str
    unit: str
    rms: tuple[float, ...]
    largest: tuple[float, ...]


@dataclass(frozen=True)
class Certificate:
    """Errors measured at export, with their limits.

    Attributes:
        reference: description of what the errors are measured against.
        data: description of the observations.
        samples: number of observations.
        limits: by tensor.
        stages: worst errors by tensor, each stage run on the reference's inputs.
        end_to_end: the same, each stage run on the output of the stage before it.
        physical: errors of the actions end to end, by segment.
        int8: for INT8: `share` of all multiply-accumulates, `budget`, `expected_error` and the layers kept `high`.
        separation: for INT8: how the observations are set apart from those of the calibration; None where it is not
            known, as in bundles of earlier versions.
        approximations: options that depart from the trained settings, and what they change; None without.
        closed_loop: success rates in the simulated task; None if no episodes were played.
    """

    reference: str
    data: str
    samples: int
    limits: Mapping[str, Limit]
    stages: Mapping[str, Comparison]
    end_to_end: Mapping[str, Comparison]
    physical: tuple[SegmentError, ...] = ()
    int8: dict[str, Any] | None = None
    separation: Separation | None = None
    approximations: dict[str, Any] | None = None
    closed_loop: ClosedLoopRecord | None = None

    def problems(self) -> list[str]:
        """One line for every tensor that is over its limit or was not measured."""
        problems = []
        for kind, errors in ((ALONE, self.stages), (END_TO_END, self.end_to_end)):
            for name, limit in self.limits.items():
                if name not in errors:
                    problems.append(f"{name} was not measured ({kind})")
                    continue
                check = TensorCheck(case=kind, tensor=name, errors=errors[name], limit=limit)
                if not check.passed:
                    problems.append(str(check))
        return problems

    def joined(self, other: Certificate) -> Certificate:
        """The larger of every error of two measurements on the same observations."""
        segments = tuple(
            replace(a, rms=tuple(map(max, a.rms, b.rms)), largest=tuple(map(max, a.largest, b.largest)))
            for a, b in zip(self.physical, other.physical, strict=True)
        )
        return replace(
            self,
            stages={n: worst_of(c, other.stages[n]) for n, c in self.stages.items()},
            end_to_end={n: worst_of(c, other.end_to_end[n]) for n, c in self.end_to_end.items()},
            physical=segments,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `certificate_from_json`."""
        return {
            "reference": self.reference,
            "data": self.data,
            "samples": self.samples,
            "limits": {name: limit.to_json() for name, limit in self.limits.items()},
            "stages": {name: c.to_json() for name, c in self.stages.items()},
            "end_to_end": {name: c.to_json() for name, c in self.end_to_end.items()},
            "physical": [asdict(s) for s in self.physical],
            "int8": self.int8,
            "separation": None if self.separation is None else self.separation.to_json(),
            "approximations": self.approximations,
            "closed_loop": None if self.closed_loop is None else self.closed_loop.to_json(),
        }


def certificate_from_json(data: Any) -> Certificate:
    """The certificate that `Certificate.to_json` wrote.

    Raises:
        BadInputError: it is missing or malformed.
    """
    if not data:
        raise BadInputError("there is no parity certificate: the errors of this bundle were never measured")
    try:
        return Certificate(
            reference=str(data["reference"]),
            data=str(data["data"]),
            samples=int(data["samples"]),
            limits=_limits(data["limits"]),
            stages=_comparisons(data["stages"]),
            end_to_end=_comparisons(data["end_to_end"]),
            physical=tuple(
                SegmentError(name=s["name"], unit=s["unit"], rms=tuple(s["rms"]), largest=tuple(s["largest"]))
                for s in data["physical"]
            ),
            int8=data["int8"],
            separation=separation_from_json(data.get("separation")),
            approximations=data["approximations"],
            closed_loop=closed_loop_from_json(data.get("closed_loop")),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, BadInputError) as error:
        raise BadInputError(
            f"the parity certificate is malformed or of another version ({type(error).__name__}: {error})"
        ) from error


def _limits(data: Mapping[str, Any]) -> dict[str, Limit]:
    """A certificate must limit the actions: a tensor without a limit could never fail."""
    limits = {str(n): Limit(str(v["measure"]), float(v["value"])) for n, v in data.items()}
    if "actions" not in limits or not all(math.isfinite(limit.value) for limit in limits.values()):
        raise ValueError("no finite limit for the actions")
    return limits


def _comparisons(data: Mapping[str, Any]) -> dict[str, Comparison]:
    return {
        str(n): Comparison(
            max_relative=float(c["max_relative"]),
            rms_relative=float(c["rms_relative"]),
            cosine=float(c["cosine"]),
            finite=bool(c["finite"]),
        )
        for n, c in data.items()
    }


def physical_errors(
    spec: PolicySpec, actions: Sequence[np.ndarray], references: Sequence[np.ndarray]
) -> tuple[SegmentError, ...]:
    """Errors of normalized actions in the units of the hand: mm, degrees for rotations of the wrist, rad per joint.

    Args:
        actions, references: (T, A) or (1, T, A) each, one per observation.
    """
    difference = np.stack(
        [a.reshape(spec.chunk_shape) - r.reshape(spec.chunk_shape) for a, r in zip(actions, references, strict=True)]
    )
    if spec.action.bounds is not None:  # (a + 1) / 2 * (upper - lower) + lower
        difference = difference * (np.array(spec.action.bounds.upper) - np.array(spec.action.bounds.lower)) / 2
    arms = {s.arm for s in spec.action.segments}
    found = []
    for s in spec.action.segments:
        unit, factor = (
            _DEGREES if s.kind == "relative_rotation" and s.unit == "rad" else _SHOWN.get(s.unit, (s.unit, 1.0))
        )
        errors = difference[..., s.columns] * s.scale * factor
        found.append(
            SegmentError(
                name=f"{s.kind} arm {s.arm}" if len(arms) > 1 else s.kind,
                unit=unit,
                rms=tuple(float(v) for v in np.sqrt((errors**2).mean(axis=(0, 1)))),
                largest=tuple(float(v) for v in np.abs(errors).max(axis=(0, 1))),
            )
        )
    return tuple(found)
