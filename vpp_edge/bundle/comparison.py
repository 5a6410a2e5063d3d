"""Compare a tensor with its reference: the error measures of every check and report."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from vpp_edge.errors import BadInputError


@dataclass(frozen=True)
class Comparison:
    """Errors of an array against its reference.

    Attributes:
        max_relative: largest absolute error over the largest absolute reference.
        rms_relative: root mean square error over that of the reference.
        cosine: cosine of the angle between the two, flattened.
        finite: no NaN or infinity in the array.
    """

    max_relative: float
    rms_relative: float
    cosine: float
    finite: bool

    def to_json(self) -> dict[str, float | bool]:
        return asdict(self)


def compare(array: np.ndarray, reference: np.ndarray) -> Comparison:
    """The errors of an array against a finite, non-zero reference of the same shape.

    Raises:
        BadInputError: shapes differ, or the reference is not finite.
    """
    if array.shape != reference.shape:
        raise BadInputError(f"cannot compare shape {array.shape} with reference {reference.shape}")
    ours, theirs = array.astype(np.float64), reference.astype(np.float64)
    if not np.isfinite(theirs).all():
        raise BadInputError("the reference holds NaN or infinity")
    finite = bool(np.isfinite(ours).all())
    if not finite:
        return Comparison(max_relative=float("inf"), rms_relative=float("inf"), cosine=0.0, finite=False)
    error, largest = np.abs(ours - theirs), np.abs(theirs).max(initial=0.0)
    tiny = np.finfo(np.float64).tiny
    norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return Comparison(
        max_relative=float(error.max(initial=0.0) / max(largest, tiny)),
        rms_relative=float(np.sqrt(np.mean(error**2)) / max(np.sqrt(np.mean(theirs**2)), tiny)),
        cosine=float(np.vdot(ours, theirs)) / norms if norms > 0 else 1.0,
        finite=True,
    )


def worst_of(a: Comparison, b: Comparison) -> Comparison:
    """The worse of every measure, which may come from different arrays."""
    return Comparison(
        max_relative=max(a.max_relative, b.max_relative),
        rms_relative=max(a.rms_relative, b.rms_relative),
        cosine=min(a.cosine, b.cosine),
        finite=a.finite and b.finite,
    )
