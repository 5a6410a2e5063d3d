"""References in their .npz layout, and the one comparison with limits that export and `verify` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vpp_edge.bundle.comparison import Comparison, compare
from vpp_edge.bundle.reference import Reference, arrays_from_references, references_from_arrays
from vpp_edge.bundle.tensor_check import TensorCheck, check_tensors
from vpp_edge.bundle.tolerances import Limit
from vpp_edge.errors import BadInputError
from vpp_edge.spec.sample import Sample

NAMES = ("text_hidden", "goal", "tokens", "actions")


def reference(value: int, proprio: bool = True) -> Reference:
    array = np.full((1, 2), value, np.float32)
    sample = Sample(
        instruction=f"do {value}",
        frames=np.full((1, 2, 2, 3), value, np.uint8),
        video_noise=array,
        action_noise=-array,
        proprio=array[None] if proprio else None,
    )
    return Reference(sample, {name: array + i for i, name in enumerate(NAMES)})


@pytest.mark.parametrize("proprio", [True, False])
def test_references_survive_the_layout(proprio: bool) -> None:
    written = arrays_from_references([reference(1, proprio), reference(2, proprio)])
    assert ("0/proprio" in written) == proprio and "1/text_embed" in written and "1/goal" not in written
    read = references_from_arrays(written, [str(i) for i in written.pop("instructions")], "memory")
    assert list(read) == ["0", "1"]
    for found, value in zip(read.values(), (1, 2), strict=True):
        expected = reference(value, proprio)
        assert found.sample.instruction == expected.sample.instruction
        np.testing.assert_array_equal(found.sample.frames, expected.sample.frames)
        np.testing.assert_array_equal(found.sample.action_noise, expected.sample.action_noise)
        assert found.outputs.keys() == expected.outputs.keys()
        for name, array in expected.outputs.items():
            np.testing.assert_array_equal(found.outputs[name], array)


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no noise": (lambda arrays: arrays.pop("0/video_noise"), "case 0 has no video_noise"),
    "no case": (lambda arrays: arrays.clear(), "holds no case"),
    "no number": (lambda arrays: arrays.update({"x/frames": 1, "x/video_noise": 1, "x/action_noise": 1}), "case 'x'"),
    "no instruction": (lambda arrays: arrays.update({f"7/{n[2:]}": a for n, a in arrays.items()}), "case '7'"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused(damage: Callable[[dict[str, Any]], object], message: str) -> None:
    arrays = arrays_from_references([reference(1)])
    del arrays["instructions"]
    damage(arrays)
    with pytest.raises(BadInputError, match=f"io.npz: .*{message}"):
        references_from_arrays(arrays, ["do 1"], "io.npz")


LIMITS = {"tokens": Limit("cosine", 0.9), "actions": Limit("max_relative", 0.1)}


def test_arrays_with_a_reference_are_checked_against_their_limits() -> None:
    expected = {"tokens": np.array([1.0, 2.0]), "actions": np.array([1.0, -1.0])}
    arrays = {"tokens": np.array([2.0, 4.0]), "actions": np.array([1.0, -1.2]), "other": np.zeros(1)}
    checks = check_tensors("0", arrays, expected, LIMITS)
    assert [(c.case, c.tensor, c.passed) for c in checks] == [("0", "tokens", True), ("0", "actions", False)]
    assert checks[1].errors == compare(arrays["actions"], expected["actions"])
    assert str(checks[1]) == "actions 0: max_relative 0.2, max error <= 0.1"
    (broken,) = check_tensors("0", {"tokens": np.array([np.nan, 1.0])}, expected, LIMITS)
    assert not broken.passed


def test_the_worst_of_two_checks_is_the_worse_of_every_measure() -> None:
    one = TensorCheck("alone", "tokens", Comparison(0.1, 0.01, 0.99, True), LIMITS["tokens"])
    other = TensorCheck("alone", "tokens", Comparison(0.2, 0.001, 0.98, True), LIMITS["tokens"])
    assert one.worst(other).errors == other.worst(one).errors == Comparison(0.2, 0.01, 0.98, True)
