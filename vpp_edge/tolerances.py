"""How far an exported tensor may be from the eager float32 policy: one table, by tensor and precision, with its reason.

Measure: largest absolute error over largest absolute reference (`Comparison.max_relative`).
"""

from __future__ import annotations

# fp32: the same operations in another order. Text passes a dozen thin layers of O(1) values: errors of 1e-6, allowed
# ten times that. Tokens and actions pass about 200 convolutions and attentions over up to 1024 terms, and ten sampling
# steps: 5e-6 measured on the golden policies, allowed 1e-4 for other widths and processors.
TOLERANCES: dict[str, dict[str, float]] = {
    "fp32": {"text_hidden": 1e-5, "goal": 1e-5, "tokens": 1e-4, "actions": 1e-4},
}
