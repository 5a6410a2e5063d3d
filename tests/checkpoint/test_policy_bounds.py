"""Bounds that are missing, half given or without effect are refused or told: they decide how far a hand moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from edited import edit_policy
from hypothesis import given
from hypothesis import strategies as st
from small_policy import SMALL

from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_bounds import policy_bounds
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
from vpp_edge.cli.main import main
from vpp_edge.errors import CheckpointError
from vpp_edge.spec.policy import Bounds, policy_spec_from_json

KEYS = ("state_01", "state_99", "action_01", "action_99")
REAL = {"state_01": [-0.5] * 19, "state_99": [1.5] * 19, "action_01": [-0.1] * 18, "action_99": [0.2] * 18}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_untrained_checkpoint(folder, SMALL)
    return folder


@pytest.fixture
def with_bounds(checkpoint: Path) -> Iterator[Any]:
    """The spec of the checkpoint with these `dataset_args`; None: without any."""
    before = (checkpoint / "policy.pt").read_bytes()

    def spec(values: dict[str, Any] | None, **choices: Any) -> Any:
        def change(_: Any, arguments: dict[str, Any]) -> None:
            arguments.pop("dataset_args", None)
            if values is not None:
                arguments["dataset_args"] = values

        (checkpoint / "policy.pt").write_bytes(before)
        edit_policy(checkpoint, change)
        return read_checkpoint(paths_from_folder(checkpoint), Choices(**choices)).spec

    yield spec
    (checkpoint / "policy.pt").write_bytes(before)


@pytest.mark.parametrize("missing", [None, KEYS, ("action_01", "action_99"), ("state_01", "state_99")])
def test_a_real_robot_policy_without_bounds_is_refused(with_bounds: Any, missing: tuple[str, ...] | None) -> None:
    values = None if missing is None else {k: v for k, v in REAL.items() if k not in missing}
    lacks = "state_01/99" if missing == ("state_01", "state_99") else "action_01/99"
    with pytest.raises(CheckpointError, match=rf"lacks .*{lacks}.*metres and radians.*--raw-actions"):
        with_bounds(values)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_half_of_the_bounds_is_refused(with_bounds: Any, key: str, raw: bool) -> None:
    with pytest.raises(CheckpointError, match=rf"is there, but args\.dataset_args\.{key} is missing"):
        with_bounds({k: v for k, v in REAL.items() if k != key}, raw_actions=raw)


def test_the_user_may_say_that_the_policy_is_raw(with_bounds: Any) -> None:
    spec = with_bounds({}, raw_actions=True)
    assert spec.raw_actions and spec.action.bounds is None
    assert policy_spec_from_json(spec.to_json()) == spec
    assert spec.notes == ("exported with --raw-actions: the policy's numbers count as metres and radians",)


def test_a_policy_with_bounds_is_not_raw(with_bounds: Any) -> None:
    spec = with_bounds(REAL)
    assert not spec.raw_actions and spec.notes == ()
    with pytest.raises(CheckpointError, match="action and state bounds, so the policy is normalized"):
        with_bounds(REAL, raw_actions=True)


def test_half_of_the_bounds_is_refused_where_the_policy_seems_to_take_no_state() -> None:
    """Without `state_01` a head that was trained with the state would be run without it."""
    with pytest.raises(CheckpointError, match="state_99 is there"):
        policy_bounds(Arguments({"dataset_args": {"state_99": [1.0]}}), "calvin", actions=7, proprio=None)


def test_calvin_is_never_normalized() -> None:
    assert policy_bounds(Arguments({}), "calvin", actions=7, proprio=None).notes == ()
    with pytest.raises(CheckpointError, match="for xhand and xbot policies"):
        policy_bounds(Arguments({}), "calvin", actions=7, proprio=None, raw=True)


@pytest.mark.parametrize("name", ["state", "action"])
@pytest.mark.parametrize(
    ("lower", "upper", "words"), [(-1.0, 1.0, "-1 and 1"), (0.0, 0.0, "equal"), (-1.0, -1.0, "equal")]
)
def test_placeholders_are_refused(with_bounds: Any, name: str, lower: float, upper: float, words: str) -> None:
    dims = len(REAL[f"{name}_01"])
    values = {f"{name}_01": [lower] * dims, f"{name}_99": [upper] * dims}
    with pytest.raises(CheckpointError, match=rf"placeholders in {name}_01/99 \({words} in all {dims} dimensions\)"):
        with_bounds(REAL | values)
    if (lower, upper) == (-1, 1):
        other = "state" if name == "action" else "action"
        rest = {k: [v / abs(v)] * len(REAL[k]) for k, (v, *_) in REAL.items() if k.startswith(other)}
        assert with_bounds(values | rest, raw_actions=True).raw_actions


def test_constant_dimensions_are_told(with_bounds: Any) -> None:
    lower, upper = [-0.1] * 18, [0.2] * 18
    lower[4] = upper[4] = 0.3
    upper[9] = lower[9] + 1e-7
    values = {"action_01": lower, "action_99": upper, "state_01": [*lower, 0], "state_99": [*upper, 1]}
    assert with_bounds(values).notes == (
        "action dimensions 4, 9 were constant in training: the policy cannot move them",
        "state dimensions 4, 9 were constant in training: the policy always sees -1 there",
    )


@given(lower=st.floats(-10, 10), width=st.floats(0, 1e-3))
def test_only_what_no_sensor_resolves_is_constant(lower: float, width: float) -> None:
    bounds = Bounds((lower,), (lower + width,))
    assert (bounds.constant_dimensions == (0,)) == (bounds.upper[0] - lower < 1e-6)


def test_the_command_refuses_and_names_the_remedy(
    checkpoint: Path, with_bounds: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CheckpointError):
        with_bounds(None)
    assert main(["export", str(checkpoint), "-o", str(tmp_path / "bundle")]) == 2
    assert "pass --raw-actions" in capsys.readouterr().err and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("bounds", [("state", 18), ("action", 19)])
def test_bounds_of_another_length_are_refused(bounds: tuple[str, int], tmp_path: Path) -> None:
    name, length = bounds
    write_untrained_checkpoint(tmp_path, SMALL)
    edit_policy(tmp_path, lambda _, a: a["dataset_args"].update({f"{name}_01": [-1.0] * length}))
    with pytest.raises(CheckpointError, match=f"{name}_01/99 have {length}"):
        read_checkpoint(paths_from_folder(tmp_path))


def test_inverted_bounds_are_refused(tmp_path: Path) -> None:
    write_untrained_checkpoint(tmp_path, SMALL)
    edit_policy(tmp_path, lambda _, a: a["dataset_args"].update({"action_01": [2.0] * 18}))
    with pytest.raises(CheckpointError, match=r"action_01/99: bounds of dimension 0"):
        read_checkpoint(paths_from_folder(tmp_path))
