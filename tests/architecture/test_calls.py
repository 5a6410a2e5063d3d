"""Calls are readable: more than four arguments are passed by keyword, because no type tells two ints apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT

MOST_BY_POSITION = 4
FOLDERS = ("vpp_edge", "kernels", "export", "runtime", "calibration", "examples")
# Callees whose arguments have no names, or are numbers of one kind in an order that everybody knows.
VARIADIC = {
    "zip", "expand", "permute", "reshape", "view", "repeat",  # of Python, PyTorch and numpy
    "struct.pack", "self._cuda.call", "self._call", "_libc_call",  # C functions by name
    "strides_of", "new",  # tensors and dimensions, of our kernels
    "nn.Conv2d", "StableVideoDiffusionPipeline", "config.enable_stream",  # other people's, as their documents have it
    "self.stage",  # a PyTorch module as the ONNX exporter calls it
}  # fmt: skip


def crowded_calls(source: str) -> Iterator[tuple[int, str, int]]:
    """Line, callee and count of every call with more than MOST_BY_POSITION arguments by position."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
            callee = ast.unparse(node.func)
            if count > MOST_BY_POSITION and not {callee, callee.rpartition(".")[2]} & VARIADIC:
                yield node.lineno, callee, count


@pytest.mark.parametrize("folder", FOLDERS)
def test_more_than_four_arguments_are_passed_by_keyword(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {callee} takes {count} by position"
        for path in sorted(Path(ROOT / folder).rglob("*.py"))
        for line, callee, count in crowded_calls(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_a_crowded_call_is_found() -> None:
    assert list(crowded_calls("f(1, 2, 3, 4)\ng(1, 2, 3, 4, k=5)\nzip(1, 2, 3, 4, 5)\nh(*x, 1, 2)")) == []
    assert list(crowded_calls("make(1, 2,\n  3, 4, 5)")) == [(1, "make", 5)]
