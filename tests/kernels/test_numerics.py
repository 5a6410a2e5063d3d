"""Every case that Triton's interpreter can do, against its reference in float64, with NaN around and in each result."""

from __future__ import annotations

import pytest
from interpreted_kernels import LAYOUTS, Interpreter

from vpp_edge.kernels.catalogue import OPERATIONS, operation

CASES = [(name, case.name) for name in OPERATIONS for case in operation(name).cases if case.interpreted]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}-{case}" for name, case in CASES])
def test_a_kernel_computes_what_its_reference_does(interpreter: Interpreter, name: str, case: str, layout: str) -> None:
    for found in interpreter.check(name, case, layout):
        assert found.within, f"{name}, case {case}, {layout}, result {found.tensor}: {found.message}"
