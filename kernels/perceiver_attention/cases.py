"""Perceiver attention at the sizes of VPP: F frames, H heads of Q queries, N features (views * pixels) of width D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.kernels.perceiver_attention.reference import reference

CASES = (
    Case("former", {"F": 16, "H": 8, "Q": 14, "N": 512, "D": 384}, calls=6),
    Case("small-former", {"F": 2, "H": 8, "Q": 14, "N": 64, "D": 384}),
    Case("primes", {"F": 3, "H": 3, "Q": 5, "N": 43, "D": 67}),
    Case("one-feature", {"F": 1, "H": 1, "Q": 1, "N": 1, "D": 16}),
    Case("past-a-power", {"F": 1, "H": 1, "Q": 17, "N": 33, "D": 65}),
    Case("one-part", {"F": 1, "H": 2, "Q": 16, "N": 32, "D": 120}),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """Standardized features; scores with standard deviation 3 on the features and among the queries."""
    frames, rows, width = sizes["F"], sizes["H"] * sizes["Q"], sizes["D"]
    return {
        "carried": new(frames, rows, width, scale=3 * width**-0.5),
        "features": new(frames, sizes["N"], width),
        "own_scores": new(frames, rows, sizes["Q"], scale=3.0),
    }


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """Queries times features, weights times features."""
    return 4 * sizes["F"] * sizes["H"] * sizes["Q"] * sizes["N"] * sizes["D"]


OPERATION = Operation(
    name="perceiver_attention",
    fuses="matmul, concatenation, softmax, matmul",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
