"""The text condition: its position table, which is added if the policy was trained with it."""

from __future__ import annotations

import math

import pytest
import torch

from vpp_edge.model.text import sincos_table


@pytest.mark.parametrize(("length", "width"), [(20, 512), (1, 2), (7, 10)])
def test_the_table_is_that_of_the_released_code(length: int, width: int) -> None:
    table = sincos_table(length, width)
    assert table.shape == (length, width)
    assert table.dtype == torch.float32
    half = width // 2
    for position in {0, 1, length - 1} & set(range(length)):
        for i in {0, 1, half - 1} & set(range(half)):
            angle = position / 10000 ** (i / half)
            assert float(table[position, i]) == pytest.approx(math.sin(angle), abs=1e-7)
            assert float(table[position, half + i]) == pytest.approx(math.cos(angle), abs=1e-7)
