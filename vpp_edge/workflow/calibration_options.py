"""How a bundle is calibrated. Imports no numpy, so that `--help` of the commands can show the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.number_range import COUNT_OR_NONE, above, real

PERCENTILE = above(0, 100)
ALPHA = real(0, 1)


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
        ALPHA.check("SmoothQuant's alpha", self.alpha)
        PERCENTILE.check("percentile", self.percentile)
        COUNT_OR_NONE.check("sensitivity_samples", self.sensitivity_samples)


DEFAULT_OPTIONS = CalibrationOptions()
