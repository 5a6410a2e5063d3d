"""The example files of docs/hands.md are valid."""

from __future__ import annotations

import dataclasses

import pytest
from project import ROOT

from vpp_edge.runtime.control.limits import Limiter
from vpp_edge.runtime.hands.config import config_from_file
from vpp_edge.runtime.hands.inspire_config import InspireConfig
from vpp_edge.runtime.hands.kinds import hand_kinds
from vpp_edge.runtime.hands.leap_config import LeapConfig
from vpp_edge.runtime.hands.xhand import XHandConfig

FOLDER = ROOT / "examples" / "hands"
CONFIGS = {"inspire": InspireConfig, "leap": LeapConfig, "xhand": XHandConfig}


def test_every_example_has_a_kind_and_every_real_hand_an_example() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CONFIGS) == set(hand_kinds()) - {"sim"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_example_is_valid_and_stops_within_100_ms(kind: str) -> None:
    config = config_from_file(CONFIGS[kind], FOLDER / f"{kind}.json")
    limits = config.limits
    tops = zip(limits.joint_speed_rad_s, limits.joint_acceleration_rad_s2, strict=True)
    smoothing_s = (Limiter(limits, 10_000_000).smoothing - 1) * 0.01
    assert max(speed / acceleration for speed, acceleration in tops) + smoothing_s <= 0.1


@pytest.mark.parametrize("kind", CONFIGS)
def test_docs_name_every_field(kind: str) -> None:
    text = (ROOT / "docs" / "hands.md").read_text(encoding="utf-8")
    missing = [field.name for field in dataclasses.fields(CONFIGS[kind]) if f"`{field.name}`" not in text]
    assert not missing
