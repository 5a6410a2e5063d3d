"""Every case that Triton's interpreter can do, against its reference in float64, with NaN around and in each result."""

from __future__ import annotations

import pytest
from interpreted_kernels import Interpreter

from vpp_edge.kernels.catalogue import OPERATIONS, operation

CASES = [(name, case.name) for name in OPERATIONS for case in operation(name).cases if case.interpreted]


# Where one axis is the whole distance, and where several are.
FAR = [(name, case) for name, case in CASES if case in ("primes", "past-a-power")]


@pytest.mark.parametrize("layout", ["packed", "gaps"])
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}-{case}" for name, case in CASES])
def test_a_kernel_computes_what_its_reference_does(interpreter: Interpreter, name: str, case: str, layout: str) -> None:
    for found in interpreter.check(name, case, layout):
        assert found.within, f"{name}, case {case}, {layout}, result {found.tensor}: {found.message}"


@pytest.mark.parametrize(("name", "case"), FAR, ids=[f"{name}-{case}" for name, case in FAR])
def test_offsets_may_be_more_than_32_bits(interpreter: Interpreter, name: str, case: str) -> None:
    for found in interpreter.check(name, case, "far"):
        assert found.within, f"{name}, case {case}, far, result {found.tensor}: {found.message}"


def test_a_stream_may_be_written_over(interpreter: Interpreter) -> None:
    for case in (case for name, case in CASES if name == "residual_layer_norm"):
        for found in interpreter.check("residual_layer_norm", case, "in place"):
            assert found.within, f"case {case}, in place, result {found.tensor}: {found.message}"
