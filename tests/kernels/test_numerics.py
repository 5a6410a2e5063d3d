"""Every small case in Triton's interpreter against its reference in float64, with NaN around and in each result."""

from __future__ import annotations

import pytest
from interpreted_kernels import Interpreter

from vpp_edge.kernels.catalogue import OPERATIONS, load_operation

CASES = [(name, case.name) for name in OPERATIONS for case in load_operation(name).cases if case.interpreted]
# One has a single axis with large strides, the other several.
FAR = [(name, case) for name, case in CASES if case in ("primes", "past-a-power")]


@pytest.mark.parametrize("layout", ["packed", "gaps"])
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}-{case}" for name, case in CASES])
def test_a_kernel_computes_what_its_reference_does(interpreter: Interpreter, name: str, case: str, layout: str) -> None:
    for result in interpreter.check(name, case, layout):
        assert result.within, f"{name}, case {case}, {layout}, result {result.tensor}: {result.message}"


@pytest.mark.parametrize(("name", "case"), FAR, ids=[f"{name}-{case}" for name, case in FAR])
def test_offsets_may_exceed_32_bits(interpreter: Interpreter, name: str, case: str) -> None:
    for result in interpreter.check(name, case, "far"):
        assert result.within, f"{name}, case {case}, far, result {result.tensor}: {result.message}"


def test_a_stream_may_be_overwritten(interpreter: Interpreter) -> None:
    for case in (case for name, case in CASES if name == "residual_layer_norm"):
        for result in interpreter.check("residual_layer_norm", case, "in place"):
            assert result.within, f"case {case}, in place, result {result.tensor}: {result.message}"
