"""Which recordings are used for calibration and which for evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from robot_recordings import ROWS

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.workflow.observations import DataOptions, observations


@pytest.fixture
def spec(small_bundle: Path) -> PolicySpec:
    return Bundle(small_bundle).manifest.policy


@pytest.mark.parametrize(
    ("recordings", "elsewhere", "seen", "evaluated"),
    [
        ((), False, ["0", "1"], ["2"]),
        (("1",), False, ["1"], ["0", "2"]),
        (("2", "0"), False, ["2", "0"], ["1"]),
        (("1", "2"), True, ["1", "2"], ["0"]),
    ],
)
def test_no_recording_is_on_both_sides(
    spec: PolicySpec,
    robot_recordings: Path,
    recordings: tuple[str, ...],
    elsewhere: bool,
    seen: list[str],
    evaluated: list[str],
) -> None:
    held_out = robot_recordings / "annotation" / "val" / "0.json" if elsewhere else None
    found = observations(
        spec, DataOptions(robot_recordings, recordings, held_out=held_out, samples=5, held_out_samples=2)
    )
    assert [list(o.data["recordings"]) for o in found] == [seen, evaluated]
    assert [len(o.samples) for o in found] == [5, 2]
    assert evaluated[0] in found[1].description and found[1].description.startswith("2 observations of recording")
    assert {s.instruction for s in found[1].samples} <= {f"push block {name}" for name in evaluated}
    assert found[0].samples[0].frames.shape == spec.frames_shape
    assert not np.array_equal(found[0].samples[0].action_noise, found[1].samples[0].action_noise)


@pytest.mark.parametrize("words", [(), ("0",)])
def test_a_single_recording_is_split_in_time(spec: PolicySpec, robot_recordings: Path, words: tuple[str, ...]) -> None:
    one = robot_recordings / "annotation" / "val" / "0.json"
    seen, evaluated = observations(spec, DataOptions(one, words, samples=2, held_out_samples=1))
    assert seen.data["recordings"] == ["0 (rows 0 to 4)"] and evaluated.data["recordings"] == [
        f"0 (rows 6 to {ROWS - 1})"
    ]


def test_wrong_choices_are_named(spec: PolicySpec, robot_recordings: Path) -> None:
    with pytest.raises(BadInputError, match="no recording '7'"):
        observations(spec, DataOptions(robot_recordings, ("0", "7")))
    with pytest.raises(BadInputError, match="held_out_samples 0: expected a whole number from 1"):
        DataOptions(robot_recordings, held_out_samples=0)
