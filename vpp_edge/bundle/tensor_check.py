"""Compare tensors with a reference and check the errors against limits, at export and for `vpp-edge verify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vpp_edge.bundle.comparison import Comparison, compare, worst_of
from vpp_edge.bundle.tolerances import Limit


@dataclass(frozen=True)
class TensorCheck:
    """Errors of one tensor against its reference, and their limit.

    Attributes:
        case: what was compared: the number of an observation, or `alone` or `end to end` for the worst of several.
    """

    case: str
    tensor: str
    errors: Comparison
    limit: Limit

    @property
    def passed(self) -> bool:
        return self.limit.allows(self.errors)

    def worst(self, other: TensorCheck) -> TensorCheck:
        """The worse of every measure of two checks of the same tensor."""
        return replace(self, errors=worst_of(self.errors, other.errors))

    def __str__(self) -> str:
        measure = self.limit.measure
        return f"{self.tensor} {self.case}: {measure} {getattr(self.errors, measure):.3g}, {self.limit}"

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "tensor": self.tensor,
            "passed": self.passed,
            "limit": self.limit.to_json(),
            **self.errors.to_json(),
        }


def check_tensors(
    case: str, arrays: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], limits: Mapping[str, Limit]
) -> list[TensorCheck]:
    """Compares every array that has a reference, in the order of `arrays`.

    Raises:
        BadInputError: an array has another shape than its reference, or a reference is not finite.
    """
    return [
        TensorCheck(case=case, tensor=name, errors=compare(array, reference[name]), limit=limits[name])
        for name, array in arrays.items()
        if name in reference
    ]
