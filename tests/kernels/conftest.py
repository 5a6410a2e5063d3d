"""The process that interprets kernels, shared by the tests of a module."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from interpreted_kernels import Interpreter


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed: pip install -e '.[kernels]'")
    with Interpreter() as child:
        yield child
