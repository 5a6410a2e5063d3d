"""The one way to read and check a number that a person gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import FINITE, SEED, above, real, whole

TEXTS = {
    "0": (None, None), "1": (1, 1.0), "+7": (7, 7.0), "10": (10, 10.0), "11": (None, None), "-1": (None, None),
    "1.0": (None, 1.0), ".5e1": (None, 5.0), "2.": (None, 2.0), "1e400": (None, None), "-1e400": (None, None),
    "9" * 5000: (None, None), "nan": (None, None), "inf": (None, None), "-inf": (None, None), "Infinity": (None, None),
    "": (None, None), " 1": (None, None), "1 ": (None, None), "1_0": (None, None), "0x1": (None, None),
    "１": (None, None), "²": (None, None), "1e": (None, None), "1,5": (None, None), "true": (None, None),
    "None": (None, None), "\udc80": (None, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "values"), TEXTS.items(), ids=[repr(text[:9]) for text in TEXTS])
def test_a_text_is_a_number_of_the_range_or_refused(text: str, values: tuple[int | None, float | None]) -> None:
    for within, value in zip((whole(1, 10), above(0, 10)), values, strict=True):
        assert within.parsed(text) == value
        assert value is None or type(within.parsed(text)) is (int if within.whole else float)
        if value is None:
            with pytest.raises(BadInputError, match=f"expected {within}") as refused:
                within.from_text(text)
            assert len(str(refused.value)) < 100
        else:
            assert within.from_text(text) == value


@pytest.mark.parametrize(
    "value",
    [0, 11, True, "5", None, math.nan, math.inf, 10**400, 10**5000, [1], np.float64("nan"), np.array([1, 2])],
    ids=lambda value: "long" if type(value) is int and value > 11 else repr(value),
)
@pytest.mark.parametrize("within", [whole(1, 10), real(1, 10)], ids=str)
def test_a_value_that_is_no_number_of_the_range_is_refused_by_name(within, value) -> None:
    with pytest.raises(BadInputError, match=f"^threads .*: expected {within}$") as refused:
        within.check("threads", value)
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("value", [1, 10, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_numpy_are_numbers(value) -> None:
    whole(1, 10).check("threads", value)
    real(1, 10).check("threads", value)
    real(1, 10).check("threads", np.float32(1.5))


def test_a_range_says_what_it_holds() -> None:
    assert str(SEED) == "a whole number from 0 to 18446744073709551615"
    assert str(above(0, 0.5)) == "a number above 0, at most 0.5"
    assert str(whole(0, 1)) == "0 or 1"
    assert 0 not in above(0, 1) and 0 in real(0, 1)


@given(st.one_of(st.integers(), st.floats()))
def test_finite_is_what_fits_a_float(value: float) -> None:
    assert (value in FINITE) == (abs(value) <= np.finfo(float).max)


@given(st.integers(-(10**9), 10**9))
def test_written_numbers_are_read_back(value: int) -> None:
    assert whole(-(10**9), 10**9).from_text(str(value)) == value
    assert real(-(10**9), 10**9).from_text(repr(value / 7)) == value / 7
