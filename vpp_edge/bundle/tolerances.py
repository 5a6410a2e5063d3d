"""Limits on the error against the float32 policy, by precision and tensor, with their derivation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    from vpp_edge.bundle.comparison import Comparison  # loads numpy, which --help must not

# measure -> whether larger is worse
MEASURES = {"max_relative": True, "rms_relative": True, "cosine": False}


@dataclass(frozen=True)
class Limit:
    """A bound on one measure of a Comparison.

    Attributes:
        measure: `max_relative` and `rms_relative` must be at most `value`, `cosine` at least.
    """

    measure: str
    value: float

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise BadInputError(f"unknown error measure {self.measure!r}; expected one of {', '.join(MEASURES)}")

    def allows(self, errors: Comparison) -> bool:
        """True when the array was finite and its error is within the limit."""
        found = float(getattr(errors, self.measure))
        return errors.finite and (found <= self.value if MEASURES[self.measure] else found >= self.value)

    def __str__(self) -> str:
        name = {"max_relative": "max error", "rms_relative": "rel. RMS", "cosine": "cosine"}[self.measure]
        return f"{name} {'<=' if MEASURES[self.measure] else '>='} {self.value:g}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


# fp32: the same operations in another order. Text passes a dozen thin layers of O(1) values: errors of 1e-6, allowed
# ten times that. Tokens and actions pass about 200 convolutions and attentions over up to 1024 terms, and ten sampling
# steps: 5e-6 measured on the golden policies, allowed 1e-4 for other widths and processors.
#
# fp16: numbers of 11 bits are off by up to 2^-12 = 2.4e-4 each. A residual stream of a hundred blocks adds such errors
# of random sign: sqrt(100) * 2.4e-4 = 2.4e-3. Measured on the golden xhand policy with every result rounded: tokens
# 2.7e-3, actions 1.2e-3. Allowed about twice that.
#
# int8: the cost of rounding depends on the policy, so the actions' limit is the user's budget (DEFAULT_BUDGET by
# default), and the tokens must have the same direction. Text stays FP16.
DEFAULT_BUDGET = 0.015
_FP16 = {name: Limit("max_relative", 5e-3) for name in ("text_hidden", "goal", "tokens", "actions")}
TOLERANCES: dict[str, dict[str, Limit]] = {
    "fp32": {
        "text_hidden": Limit("max_relative", 1e-5),
        "goal": Limit("max_relative", 1e-5),
        "tokens": Limit("max_relative", 1e-4),
        "actions": Limit("max_relative", 1e-4),
    },
    "fp16": _FP16,
    "int8": _FP16 | {"tokens": Limit("cosine", 0.995), "actions": Limit("rms_relative", DEFAULT_BUDGET)},
}
PRECISIONS = tuple(TOLERANCES)

# Our own kernels, against their reference in float64 on the same fp16 inputs. They compute in fp32, so what remains is
# the rounding of the result to 11 bits: at most 2^-11 = 4.9e-4 of an element, 2.1e-4 RMS if mantissas are uniform.
# Attention with a product behind its softmax rounds its weights to fp16 too, which adds as much again: twice the
# largest error, sqrt(2) times the RMS. Over few elements the RMS is up to 1.4 times as large.
#
# int8: a result within fp32's 2^-24 of the middle between two steps may round to either. One such among some 300
# tested elements, whose RMS is 30 steps: 1 / (30 * sqrt(300)) = 2e-3. Allowed: twice that, and one step where the
# largest result has at least 64.
_ROUNDED = (Limit("max_relative", 5e-4), Limit("rms_relative", 3e-4))
_ROUNDED_TWICE = (Limit("max_relative", 1e-3), Limit("rms_relative", 4.2e-4))
KERNEL_LIMITS: dict[str, tuple[Limit, ...]] = {
    "temporal_attention": _ROUNDED_TWICE,
    "spatial_attention": _ROUNDED_TWICE,
    "text_attention": _ROUNDED,
    "perceiver_attention": _ROUNDED_TWICE,
    "group_norm_silu": _ROUNDED,
    "residual_layer_norm": _ROUNDED,
    "geglu": _ROUNDED,
    "int8": (Limit("max_relative", 1 / 64), Limit("rms_relative", 4e-3)),
}
