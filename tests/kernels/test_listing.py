"""The kept table of kernels is what PyTorch counts."""

from __future__ import annotations

import json

from vpp_edge.kernels.catalogue import OPERATIONS, load_operation
from vpp_edge.kernels.listing import KEPT, kept_rows, text_of_rows
from vpp_edge.kernels.traffic import row_of_case


def test_it_is_current() -> None:
    operations = map(load_operation, OPERATIONS)
    counted = [row_of_case(operation, case) for operation in operations for case in operation.cases]
    assert KEPT.read_text(encoding="utf-8") == text_of_rows(counted), "run `python benchmarks/kernel_traffic.py`"
    assert json.loads(KEPT.read_text(encoding="utf-8")) == counted


def test_by_default_the_full_size_cases_are_shown() -> None:
    shown = kept_rows(OPERATIONS, ())
    assert shown and all(row["calls"] for row in shown) and {row["kernel"] for row in shown} == set(OPERATIONS)
    assert [(row["kernel"], row["case"]) for row in kept_rows(["geglu"], ["small"])] == [("geglu", "small")]
    assert kept_rows(["geglu"], ["none"]) == []
