"""Success rates: the Wilson interval against published values and its own definition."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.bundle.success_rate import Z_95, SuccessRate, success_rate_from_json, wilson_interval
from vpp_edge.errors import BadInputError

counts = st.integers(1, 5000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@pytest.mark.parametrize(
    ("successes", "trials", "lower", "upper"),
    [
        (81, 263, 0.2553, 0.3662),  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(successes: int, trials: int, lower: float, upper: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((lower, upper), abs=5e-5)


@given(counts)
def test_its_ends_are_where_the_score_test_turns(count: tuple[int, int]) -> None:
    """Wilson's definition: at an end p, the observed share is z standard errors of p away from p."""
    successes, trials = count
    share, (lower, upper) = successes / trials, wilson_interval(successes, trials)
    assert 0 <= lower <= share <= upper <= 1
    for end in (lower, upper):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(Z_95 * math.sqrt(end * (1 - end) / trials), rel=1e-6, abs=1e-9)


@given(counts)
def test_failures_are_the_mirror_of_successes(count: tuple[int, int]) -> None:
    successes, trials = count
    lower, upper = wilson_interval(successes, trials)
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - upper, 1 - lower))


@given(counts)
def test_a_rate_survives_json(count: tuple[int, int]) -> None:
    rate = SuccessRate(*count)
    written = json.loads(json.dumps(rate.to_json()))
    assert success_rate_from_json(written) == rate
    assert written["ci95"] == list(rate.interval)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, 0)])
def test_invalid_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(BadInputError, match="successes in"):
        SuccessRate(successes, trials)
