"""How a bundle is calibrated. Imports no numpy, so that `--help` of the commands can show the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.errors import BadInputError


@dataclass(frozen=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        method: of the ranges, one of vpp_edge.bundle.quantization.METHODS.
        percentile: share of values, in percent, that method `percentile` does not cut off.
        alpha: SmoothQuant's migration strength, 0 (none) to 1.
        sensitivity_samples: observations that every layer's error is measured on; 0 leaves that out.
    """

    method: str = "percentile"
    percentile: float = 99.999
    alpha: float = 0.5
    sensitivity_samples: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise BadInputError(f"SmoothQuant's alpha is {self.alpha:g}; it must be from 0 (no smoothing) to 1")
        if not 0 < self.percentile <= 100:
            raise BadInputError(f"percentile {self.percentile:g} must be above 0 and at most 100")
        if self.sensitivity_samples < 0:
            raise BadInputError("the number of observations for sensitivities cannot be negative")


DEFAULT_OPTIONS = CalibrationOptions()
