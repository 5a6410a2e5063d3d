"""Interpolations of OmegaConf, resolved without OmegaConf."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.errors import CheckpointError

VALUES: dict[str, Any] = {
    "act_seq_len": 10,
    "top": "x",
    "model": {
        "horizon": "${act_seq_len}",
        "again": "${model.horizon}",
        "beside": "${.width}",
        "above": "${..top}",
        "deep": {"beside": "${.n}", "up": "${..width}", "n": 3},
        "width": 384,
        "name": "head-${.width}-${top}",
        "list": ["${act_seq_len}", 1.5],
        "first": "${model.list.0}",
        "nothing": None,
        "rate": "1e-3",
    },
}


@pytest.mark.parametrize(
    "path",
    [
        "act_seq_len", "model.horizon", "model.again", "model.beside", "model.above", "model.deep.beside",
        "model.deep.up", "model.name", "model.width",
    ],
)  # fmt: skip
def test_values_are_those_of_omegaconf(path: str) -> None:
    assert Arguments(VALUES).get(path) == OmegaConf.select(OmegaConf.create(VALUES), path)


def test_lists_are_resolved() -> None:
    assert Arguments(VALUES).get("model.list") == [10, 1.5]
    assert Arguments(VALUES).get("model.first") == 10
    assert Arguments(VALUES).numbers("model.list") == (10.0, 1.5)


def test_absent_and_empty_values_give_the_default() -> None:
    arguments = Arguments(VALUES)
    assert arguments.get("model.absent", 7) == 7
    assert arguments.get("model.nothing", 7) == 7
    assert arguments.get("act_seq_len.deeper", 7) == 7
    assert arguments.integer("model.absent", 7) == 7
    assert arguments.numbers("model.absent") is None


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    assert Arguments(VALUES).number("model.rate", lowest=0, highest=1) == 0.001
    assert Arguments({"a": ["1e-3", 2]}).numbers("a") == (0.001, 2.0)


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${oc.decode:x}", "a ${now:%Y} b"])
def test_resolvers_are_refused(value: str) -> None:
    with pytest.raises(CheckpointError, match=r"args\.a uses the resolver"):
        Arguments({"a": value}).get("a")


@pytest.mark.parametrize("value", ["${oc.create:{a: 1}}", "${b.${c}}", "x${b.${c}}"])
def test_nested_references_are_refused(value: str) -> None:
    with pytest.raises(CheckpointError, match=r"args\.a is .* nested references are not evaluated"):
        Arguments({"a": value, "c": "d"}).get("a")


@pytest.mark.parametrize(
    "values",
    [
        {"a": "${a}"},
        {"a": "${b}", "b": "${a}"},
        {"a": "x${b}", "b": "y${c}", "c": "z${a}"},
        {"a": ["${b}"], "b": "${a}"},
    ],
)
def test_cycles_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="refers to itself"):
        Arguments(values).get("a")


def test_a_reference_to_nothing_is_refused_where_it_is_read() -> None:
    arguments = Arguments({"a": "${b}", "c": 1})
    assert arguments.get("c") == 1
    with pytest.raises(CheckpointError, match=r"args\.a refers to \$\{b\}, which does not exist"):
        arguments.get("a")


@pytest.mark.parametrize(
    "value", [True, 1.5, "ten", [1], float("nan"), float("inf"), -5, 0, 10**400, pytest.param(10**5000, id="huge")]
)
def test_what_is_no_whole_number_in_its_bounds_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"args\.a is .*, expected a whole number from 1 to 9"):
        Arguments({"a": value}).integer("a", highest=9)


@pytest.mark.parametrize("value", [True, "ten", [1], {"x": 1}, float("nan"), "inf", -0.1, 10**400])
def test_what_is_no_number_in_its_bounds_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"args\.a is .*, expected a number from 0 to 9"):
        Arguments({"a": value}).number("a", lowest=0, highest=9)


@pytest.mark.parametrize("value", [3, "1 2", [1, "two"], [True], {"a": 1}, [float("nan")], [10**400], [[1]]])
def test_what_is_no_list_of_numbers_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"args\.a.* is .*, expected a (list of numbers|number)"):
        Arguments({"a": value}).numbers("a")


@pytest.mark.parametrize(("value", "meant"), [(True, True), (False, False), (0, False), (1, True), (None, True)])
def test_flags_are_true_or_false(value: Any, meant: bool) -> None:
    assert Arguments({"a": value}).flag("a", True) is meant


@pytest.mark.parametrize("value", ["false", "no", "", 2, [], {}])
def test_what_only_python_takes_for_a_truth_value_is_refused(value: Any) -> None:
    """The text "false" would switch a setting on."""
    with pytest.raises(CheckpointError, match=r"args\.a is .*, expected true or false"):
        Arguments({"a": value}).flag("a", False)


@pytest.mark.parametrize("leaf", ["x", ""])
def test_references_do_not_explode(leaf: str) -> None:
    """Ten references to ten references ... would be 10^20 of them."""
    values: dict[str, Any] = {f"a{i}": f"${{a{i + 1}}}" * 10 for i in range(20)} | {"a20": leaf}
    with pytest.raises(CheckpointError, match="refers to more than 1000 other values"):
        Arguments(values).get("a0")
