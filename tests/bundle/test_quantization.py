"""The table in calibration.json: read back unchanged, and a BadInputError for anything else."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.bundle.quantization import METHODS, CalibrationTable, StageTable, calibration_from_json
from vpp_edge.errors import BadInputError

names = st.text(max_size=8)
positive = st.floats(0, exclude_min=True, allow_infinity=False)
tables = st.builds(
    CalibrationTable,
    st.sampled_from(METHODS),
    st.floats(0, 1),
    st.dictionaries(names, st.none() | st.integers() | names | st.lists(names, max_size=2), max_size=3),
    st.dictionaries(
        names,
        st.builds(
            StageTable,
            names,
            st.dictionaries(names, positive, max_size=3),
            st.dictionaries(names, st.lists(positive, max_size=3).map(tuple), max_size=2),
            st.dictionaries(names, st.floats(0, allow_infinity=False), max_size=3),
        ),
        max_size=2,
    ),
)
EXAMPLE = CalibrationTable(
    "entropy", 0.5, {"recordings": ["0"]}, {"act": StageTable("ab", {"x": 2.5}, {"a+b": (0.5, 2.0)}, {"head.1": 0.01})}
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(tables)
def test_a_table_is_read_back_as_it_was(table):
    assert calibration_from_json(json.loads(json.dumps(table.to_json()))) == table


def test_a_table_holds_plain_values():
    text = json.dumps(EXAMPLE.to_json(), allow_nan=False)
    assert json.loads(text) == EXAMPLE.to_json()


PLACES = [
    ("schema_version",), ("method",), ("alpha",), ("data",), ("stages",), ("stages", "act"),
    ("stages", "act", "graph_sha256"), ("stages", "act", "ranges"), ("stages", "act", "ranges", "x"),
    ("stages", "act", "smoothing"), ("stages", "act", "smoothing", "a+b"), ("stages", "act", "sensitivity"),
    ("stages", "act", "sensitivity", "head.1"),
]  # fmt: skip


def changed(place, value, delete=False):
    data = copy.deepcopy(json.loads(json.dumps(EXAMPLE.to_json())))
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if delete:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return data


@settings(max_examples=300)
@given(st.sampled_from(PLACES), json_values)
def test_any_change_is_read_or_refused(place, value):
    try:
        table = calibration_from_json(changed(place, value))
    except BadInputError:
        return
    text = json.dumps(table.to_json())  # as text, because NaN in `data` is no other NaN's equal
    assert json.dumps(calibration_from_json(json.loads(text)).to_json()) == text
    for stage in table.stages.values():
        assert all(v > 0 for v in stage.ranges.values()) and all(v >= 0 for v in stage.sensitivity.values())


@given(json_values)
def test_anything_else_is_refused(value):
    with pytest.raises(BadInputError, match="run `vpp-edge calibrate` again"):
        calibration_from_json(value)


@pytest.mark.parametrize("place", [p for p in PLACES if p[-1] not in ("act", "x", "a+b", "head.1")])
def test_a_missing_field_is_refused(place):
    with pytest.raises(BadInputError, match="run `vpp-edge calibrate` again"):
        calibration_from_json(changed(place, None, delete=True))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 10**400, True, "1", None, [1.0]])
@pytest.mark.parametrize("place", [("stages", "act", "ranges", "x"), ("stages", "act", "smoothing", "a+b")])
def test_ranges_and_factors_are_positive_numbers(place, value):
    with pytest.raises(BadInputError, match="malformed"):
        calibration_from_json(changed(place, [value] if place[-1] == "a+b" else value))


@pytest.mark.parametrize("value", [-0.1, float("nan"), 10**400, "0.5", None, True])
@pytest.mark.parametrize("place", [("alpha",), ("stages", "act", "sensitivity", "head.1")])
def test_alpha_and_sensitivities_are_numbers_from_0_on(place, value):
    with pytest.raises(BadInputError, match="malformed"):
        calibration_from_json(changed(place, value))


@pytest.mark.parametrize("value", [None, 3, "words", ["a"], [["a", 1]]])
def test_the_origin_is_an_object(value):
    with pytest.raises(BadInputError, match="malformed"):
        calibration_from_json(changed(("data",), value))


@pytest.mark.parametrize("method", ["", "mean", "MAX", 3, None])
def test_an_unknown_method_is_refused(method):
    with pytest.raises(BadInputError, match="names method"):
        calibration_from_json(changed(("method",), method))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(version):
    with pytest.raises(BadInputError, match="not a calibration table of schema version 1"):
        calibration_from_json(changed(("schema_version",), version))
