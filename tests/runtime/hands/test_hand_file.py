"""Numbers of a hand's file that cannot be used: refused with file and field, whatever they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from material import ROOT

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.hands.config import config_from_file
from vpp_edge.runtime.hands.inspire_config import InspireConfig
from vpp_edge.runtime.hands.leap_config import LeapConfig
from vpp_edge.runtime.hands.xhand import XHandConfig

EXAMPLES = ROOT / "examples" / "hands"
BAD = ["NaN", "Infinity", "1" + "0" * 400, "-1e400", '"5"', "true", "null", "[]", "{}", "[[1, 2], [3]]", '"fast"']


KINDS: dict[str, type] = {"leap": LeapConfig, "inspire": InspireConfig, "xhand": XHandConfig}
FILES: dict[str, tuple[type, dict[str, Any]]] = {
    hand: (cls, json.loads((EXAMPLES / f"{hand}.json").read_text())) for hand, cls in KINDS.items()
}
FIELDS = [
    (hand, part, field)
    for hand, (_, values) in FILES.items()
    for part in ("", "limits")
    for field in (values[part] if part else values)
    if field not in ("limits", "joint_names", "torque_off_at_close")
]


def written(path: Path, values: dict[str, Any], part: str, field: str, text: str) -> Path:
    """The file with another text in the place of one value, which need not be what Python would write."""
    inner = dict(values[part] if part else values) | {field: "HERE"}
    whole = values | {part: inner} if part else inner
    path.write_text(json.dumps(whole).replace('"HERE"', text))
    return path


@pytest.mark.parametrize("hand", FILES)
def test_the_examples_are_read(hand: str, tmp_path: Path) -> None:
    cls, values = FILES[hand]
    (tmp_path / "hand.json").write_text(json.dumps(values))
    assert config_from_file(cls, tmp_path / "hand.json")


@pytest.mark.parametrize(("hand", "part", "field"), FIELDS)
def test_a_value_that_is_no_number_is_refused_with_file_and_field(
    hand: str, part: str, field: str, tmp_path: Path
) -> None:
    cls, values = FILES[hand]
    for text in BAD:
        path = written(tmp_path / "hand.json", values, part=part, field=field, text=text)
        with pytest.raises(BadInputError) as refused:
            config_from_file(cls, path)
        assert str(path) in str(refused.value) and field in str(refused.value), (text, str(refused.value))
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("hand", "part", "field"), [f for f in FIELDS if not f[1] and f[2] != "wrist"])
def test_a_whole_number_may_be_no_fraction(hand: str, part: str, field: str, tmp_path: Path) -> None:
    cls, values = FILES[hand]
    if field in ("timeout_ms", "read_ms") or isinstance(values[field], list):
        return
    path = written(tmp_path / "hand.json", values, part=part, field=field, text=f"{values[field]}.5")
    with pytest.raises(BadInputError, match=rf"{field} .*\.5: expected a whole number from"):
        config_from_file(cls, path)
