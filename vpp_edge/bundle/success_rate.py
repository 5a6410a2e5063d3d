"""A success rate with its 95 % confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError

Z_95 = 1.959963984540054  # standard normal quantile of 0.975


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a binomial proportion (E. B. Wilson, JASA 22, 1927); 95 % unless another `z` is given.

    Raises:
        BadInputError: not 0 <= successes <= trials with at least one trial.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise BadInputError(
            f"{successes} successes in {trials} trials; expected at least one trial and no more successes than trials"
        )
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Without successes the lower end is exactly 0, with successes only the upper end exactly 1; rounding would miss it.
    lower = 0.0 if successes == 0 else (centre - half) / scale
    upper = 1.0 if successes == trials else (centre + half) / scale
    return lower, upper


@dataclass(frozen=True)
class SuccessRate:
    """Successes among episodes."""

    successes: int
    episodes: int

    def __post_init__(self) -> None:
        wilson_interval(self.successes, self.episodes)

    @property
    def share(self) -> float:
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        return wilson_interval(self.successes, self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `success_rate_from_json` reads the two counts back."""
        return {
            "success": self.share,
            "ci95": list(self.interval),
            "successes": self.successes,
            "episodes": self.episodes,
        }

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.share:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"


def success_rate_from_json(data: Any) -> SuccessRate:
    """The rate that `SuccessRate.to_json` wrote.

    Raises KeyError, TypeError, ValueError or BadInputError on anything else.
    """
    return SuccessRate(int(data["successes"]), int(data["episodes"]))
