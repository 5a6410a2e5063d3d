"""The parity certificate: errors in the units of the hand, what is over its limit, and untrusted JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpp_edge.bundle.certificate import Certificate, SegmentError, certificate_from_json, physical_errors
from vpp_edge.bundle.closed_loop import ClosedLoopRecord
from vpp_edge.bundle.comparison import Comparison
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.bundle.tolerances import Limit
from vpp_edge.cli.certificate_text import certificate_lines
from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import ActionSegment, ActionSpec, Bounds, PolicySpec

GOOD = Comparison(0.001, 0.0005, 0.9999, True)


@pytest.fixture
def spec(small_bundle: Path) -> PolicySpec:
    return Bundle(small_bundle).manifest.policy


def with_actions(spec: PolicySpec, segments: tuple[ActionSegment, ...], half_width: float | None) -> PolicySpec:
    """Chunks of two actions; normalized by bounds of this half width, or raw."""
    dims = sum(s.size for s in segments)
    bounds = None if half_width is None else Bounds((1 - half_width,) * dims, (1 + half_width,) * dims)
    return replace(
        spec, action=ActionSpec(dims=dims, horizon=2, period_ns=spec.action.period_ns, bounds=bounds, segments=segments)
    )


def errors_of(spec: PolicySpec, *differences: Any) -> tuple[SegmentError, ...]:
    reference = np.random.default_rng(0).standard_normal(spec.chunk_shape)
    return physical_errors(spec, [(reference + d)[None] for d in differences], [reference for _ in differences])


def test_units_are_those_of_the_hand(spec: PolicySpec) -> None:
    """Positions in mm, rotations of the wrist in degrees, joints in rad; bounds that are 2 apart change nothing."""
    spec = with_actions(spec, spec.action.segments, 1.0)
    found = errors_of(spec, np.full(spec.chunk_shape, 0.01))
    assert [(s.name, s.unit, len(s.rms)) for s in found] == [
        ("delta_position", "mm", 3),
        ("relative_rotation", "deg", 3),
        ("joint_position", "rad", 12),
    ]
    for segment, expected in zip(found, (10, np.degrees(0.01), 0.01), strict=True):
        np.testing.assert_allclose([*segment.rms, *segment.largest], expected)


def test_bounds_and_scale_lead_back_to_physical_units(spec: PolicySpec) -> None:
    """CALVIN's actions are raw, and one is 20 mm or 0.05 rad; others are normalized to their percentiles."""
    segments = (
        ActionSegment("delta_position", 0, 3, "m", scale=0.02),
        ActionSegment("relative_rotation", 3, 3, "rad", scale=0.05),
        ActionSegment("gripper", 6, 1, "1"),
    )
    raw = errors_of(with_actions(spec, segments, None), np.full((2, 7), 0.1))
    assert [(s.unit, round(s.rms[0], 9)) for s in raw] == [
        ("mm", 2.0),
        ("deg", round(float(np.degrees(0.005)), 9)),
        ("1", 0.1),
    ]
    bounded = errors_of(with_actions(spec, segments, 3.0), np.full((2, 7), 0.1))
    for a, b in zip(raw, bounded, strict=True):
        np.testing.assert_allclose(b.rms, 3 * np.array(a.rms))


def test_rms_is_over_all_and_largest_is_of_one(spec: PolicySpec) -> None:
    small, large = np.zeros((2, 1)), np.array([[0.0], [-0.4]])
    (found,) = errors_of(with_actions(spec, (ActionSegment("joint_position", 0, 1, "rad"),), None), small, large)
    np.testing.assert_allclose(found.rms, 0.4 / np.sqrt(4))
    np.testing.assert_allclose(found.largest, 0.4)


def test_two_arms_are_told_apart(spec: PolicySpec) -> None:
    segments = (ActionSegment("delta_position", 0, 3, "m", arm=0), ActionSegment("delta_position", 3, 3, "m", arm=1))
    difference = np.concatenate([np.full((2, 3), 0.001), np.full((2, 3), 0.002)], axis=1)
    found = errors_of(with_actions(spec, segments, None), difference)
    assert [(s.name, round(s.largest[0], 6)) for s in found] == [
        ("delta_position arm 0", 1.0),
        ("delta_position arm 1", 2.0),
    ]


@pytest.fixture
def certificate() -> Certificate:
    return Certificate(
        reference="float32",
        data="2 observations",
        samples=2,
        limits={"tokens": Limit("cosine", 0.995), "actions": Limit("rms_relative", 0.02)},
        stages={"tokens": GOOD, "actions": GOOD},
        end_to_end={"tokens": GOOD, "actions": GOOD},
        physical=(SegmentError("joint_position", "rad", (0.1, 0.2), (0.3, 0.4)),),
        int8={"share": 0.9},
        approximations=None,
    )


def test_problems_name_what_is_over_a_limit(certificate: Certificate) -> None:
    assert certificate.problems() == []
    bad = replace(certificate, end_to_end={"actions": replace(GOOD, rms_relative=0.03)})
    assert bad.problems() == [
        "tokens was not measured (end to end)",
        "actions end to end: rms_relative 0.03, rel. RMS <= 0.02",
    ]
    for broken in (replace(GOOD, finite=False), replace(GOOD, cosine=0.9), replace(GOOD, cosine=float("nan"))):
        assert replace(certificate, stages={"tokens": broken, "actions": GOOD}).problems()


def test_two_measurements_join_to_the_worse(certificate: Certificate) -> None:
    worse = Comparison(0.0001, 0.01, 0.99, True)
    other = replace(
        certificate,
        end_to_end={"tokens": worse, "actions": GOOD},
        physical=(SegmentError("joint_position", "rad", (0.0, 0.5), (0.6, 0.0)),),
    )
    joined = certificate.joined(other)
    assert joined.end_to_end["tokens"] == Comparison(0.001, 0.01, 0.99, True)
    assert joined.physical == (SegmentError("joint_position", "rad", (0.1, 0.5), (0.6, 0.4)),)
    assert joined == other.joined(certificate)


PLAYED = ClosedLoopRecord(
    task="a task",
    policy=SuccessRate(18, 20),
    reference=SuccessRate(19, 20),
    reference_name="the float32 bundle",
    seed=4,
    world="turntable",
    chunking="naive",
)


@pytest.mark.parametrize("closed_loop", [None, PLAYED])
def test_json_and_back(certificate: Certificate, closed_loop: ClosedLoopRecord | None) -> None:
    written = replace(certificate, closed_loop=closed_loop)
    assert certificate_from_json(json.loads(json.dumps(written.to_json()))) == written


def test_a_certificate_from_before_closed_loops_is_readable(certificate: Certificate) -> None:
    data = certificate.to_json()
    del data["closed_loop"]
    assert certificate_from_json(data) == certificate


def test_a_closed_loop_from_before_there_were_worlds_was_played_on_the_buttons(certificate: Certificate) -> None:
    data = replace(certificate, closed_loop=PLAYED).to_json()
    del data["closed_loop"]["world"], data["closed_loop"]["chunking"]
    assert certificate_from_json(data).closed_loop == replace(PLAYED, world="buttons", chunking="rtc")


def test_success_in_closed_loop_is_shown_with_its_intervals(certificate: Certificate) -> None:
    assert certificate_lines(replace(certificate, int8=None, closed_loop=PLAYED))[-2:] == [
        "closed loop: a task, 20 episodes, seed 4, world turntable, naive (95 % intervals)",
        "  90.0 % (69.9 to 97.2 %) succeed, with the float32 bundle 95.0 % (76.4 to 99.1 %)",
    ]


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "empty": lambda data: data.clear(),
    "no limits": lambda data: data.pop("limits"),
    "limits are a list": lambda data: data.update(limits=[1]),
    "nothing is limited": lambda data: data.update(limits={}),
    "unknown measure": lambda data: data["limits"]["tokens"].update(measure="vibes"),
    "limit is no number": lambda data: data["limits"]["tokens"].update(value=[]),
    "limit is infinite": lambda data: data["limits"]["actions"].update(value=float("inf")),
    "error is text": lambda data: data["stages"]["tokens"].update(cosine="good"),
    "samples is null": lambda data: data.update(samples=None),
    "samples is infinite": lambda data: data.update(samples=float("inf")),
    "physical is a number": lambda data: data.update(physical=3),
    "int8 is missing": lambda data: data.pop("int8"),
    "closed loop is text": lambda data: data.update(closed_loop="won"),
    "closed loop lacks a rate": lambda data: data.update(closed_loop={**PLAYED.to_json(), "policy": None}),
    "more successes than episodes": lambda data: data.update(
        closed_loop={**PLAYED.to_json(), "policy": {"successes": 3, "episodes": 2}}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_certificate_is_none(certificate: Certificate, damage: Callable[[dict[str, Any]], object]) -> None:
    data = certificate.to_json()
    damage(data)
    with pytest.raises(BadInputError, match="parity certificate"):
        certificate_from_json(data)
    with pytest.raises(BadInputError, match="parity certificate"):
        certificate_from_json([])
