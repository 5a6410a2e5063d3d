"""The delay that real-time chunking assumes: the slowest recent inference, without the warm-up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.runtime.policy.delay import KEPT, WARM_UP, DelayEstimate

MS = 1_000_000


def estimate_after(*delays_ms: int) -> int:
    estimate = DelayEstimate()
    for delay_ms in delays_ms:
        estimate.add(delay_ms * MS)
    return estimate.bound_ns


def test_cold_inferences_count_only_until_warm_ones_are_known() -> None:
    cold = (2000, 800, 300)
    assert len(cold) == WARM_UP
    assert estimate_after(*cold) == 2000 * MS
    assert estimate_after(*cold, 120) == 120 * MS
    assert estimate_after(*cold, 120, 140, 110) == 140 * MS


def test_a_slow_inference_counts_as_long_as_it_is_recent() -> None:
    warm_up = (100,) * WARM_UP
    assert estimate_after(*warm_up, 500, *(100,) * (KEPT - 1)) == 500 * MS
    assert estimate_after(*warm_up, 500, *(100,) * KEPT) == 100 * MS


@given(st.lists(st.integers(1, 5000), min_size=WARM_UP + 1, max_size=60))
def test_the_bound_is_the_slowest_of_the_recent_warm_inferences(delays_ms: list[int]) -> None:
    assert estimate_after(*delays_ms) == max(delays_ms[WARM_UP:][-KEPT:]) * MS


def test_there_is_no_bound_before_the_first_inference() -> None:
    with pytest.raises(ValueError):
        DelayEstimate().bound_ns  # noqa: B018
