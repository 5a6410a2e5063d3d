"""Which layers run in INT8: ordered by squared error per multiply-accumulate, and every budget is kept."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.calibration.choice import Layer, choices, largest_share_within, layers_from

errors = st.just(0.0) | st.floats(1e-9, 10)  # the square of anything near 1e-162 has no digits
layers = st.lists(
    st.builds(Layer, st.sampled_from(["perceive", "act"]), st.uuids().map(str), st.integers(0, 10**12), errors),
    max_size=12,
)


def total(found):
    return sum(layer.macs for layer in found)


@given(layers)
def test_share_and_error_only_fall(found):
    made = choices(found, total(found))
    assert len(made) == len(found) + 1
    for before, after in itertools.pairwise(made):
        assert before.share >= after.share and before.expected_error >= after.expected_error
        assert after.high[:-1] == before.high
    assert made[-1].share == made[-1].expected_error == 0 and not made[0].high
    assert set(made[-1].high) == set(found)


@given(layers)
def test_errors_of_independent_layers_add_as_squares(found):
    for choice in choices(found, total(found)):
        low = [layer for layer in found if layer not in choice.high]
        assert choice.expected_error == pytest.approx(math.hypot(*(layer.error for layer in low)), rel=1e-9, abs=1e-150)
        assert choice.share == pytest.approx(total(low) / max(total(found), 1))


@given(layers)
def test_the_costliest_layer_leaves_first(found):
    costs = [layer.error**2 / max(layer.macs, 1) for layer in choices(found, total(found))[-1].high]
    assert costs == sorted(costs, reverse=True)


@given(layers, errors.map(lambda error: 2 * error))
def test_a_budget_is_kept_and_used(found, budget):
    chosen = largest_share_within(found, total(found), budget)
    assert chosen.expected_error <= budget * (1 + 1e-12)
    in_order = next(c for c in choices(found, total(found)) if c.expected_error <= budget or len(c.high) == len(found))
    assert chosen.share >= in_order.share
    kept = [layer for layer in found if layer not in chosen.high]
    assert chosen.share == pytest.approx(total(kept) / max(total(found), 1))
    for layer in chosen.high:  # no layer that would fit was excluded
        assert math.sqrt(sum(k.error**2 for k in [*kept, layer])) > budget * (1 - 1e-12)


def test_a_large_layer_is_not_taken_out_where_small_ones_do():
    found = [Layer("act", "large", 1000, 0.9), Layer("act", "small", 10, 0.085), Layer("act", "none", 10, 0.0)]
    chosen = largest_share_within(found, 1020, 0.902)
    assert [layer.name for layer in chosen.high] == ["small"]


@given(layers, st.integers(1, 10**12))
def test_layers_without_a_measured_error_leave_first(found, macs):
    counts = {(layer.stage, layer.name): layer.macs for layer in found} | {("act", "unmeasured"): macs}
    errors = {(layer.stage, layer.name): layer.error for layer in found}
    made = choices(layers_from(counts, errors), sum(counts.values()))
    assert made[0].expected_error == math.inf
    assert [layer.name for layer in made[1].high] == ["unmeasured"] and made[1].expected_error < math.inf
    assert len(largest_share_within(layers_from(counts, errors), sum(counts.values()), 1e9).high) == 1


@pytest.mark.parametrize("error", [math.nan, math.inf, 1e200])
def test_a_layer_that_breaks_the_policy_leaves_first(error):
    found = [Layer("act", "good", 10, 0.01), Layer("act", "broken", 1000, error), Layer("act", "fair", 10, 0.02)]
    chosen = largest_share_within(found, 1020, 0.03)
    assert [layer.name for layer in chosen.high] == ["broken"]
    assert chosen.share == pytest.approx(20 / 1020)


def test_products_that_can_never_be_in_int8_lower_the_share():
    (everything, nothing) = choices([Layer("act", "a", 30, 0.01)], 40)
    assert (everything.share, nothing.share) == (0.75, 0)


def test_without_products_there_is_nothing_to_choose():
    (only,) = choices([], 0)
    assert only.share == only.expected_error == 0 and largest_share_within([], 0, 0) == only


def test_no_budget_is_too_small():
    found = [Layer("act", "a", 30, 0.01), Layer("act", "b", 30, 0.0)]
    assert largest_share_within(found, 60, 0).share == 0.5  # a layer without error may stay
    assert largest_share_within(found, 60, -1).share == 0
