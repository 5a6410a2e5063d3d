"""Temporal attention at the sizes of VPP: B views, F frames, N positions, H heads of D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.kernels.temporal_attention.reference import reference

CASES = (
    Case("unet-32x32", {"B": 2, "F": 16, "N": 1024, "H": 5, "D": 64}, calls=2),
    Case("unet-16x16", {"B": 2, "F": 16, "N": 256, "H": 10, "D": 64}, calls=2),
    Case("unet-8x8", {"B": 2, "F": 16, "N": 64, "H": 20, "D": 64}, calls=5),
    Case("unet-4x4", {"B": 2, "F": 16, "N": 16, "H": 20, "D": 64}, calls=1),
    Case("former", {"B": 1, "F": 16, "N": 14, "H": 8, "D": 48}, calls=6),
    Case("small-view", {"B": 2, "F": 16, "N": 8, "H": 5, "D": 64}),
    Case("small-former", {"B": 1, "F": 16, "N": 3, "H": 8, "D": 48}),
    Case("eight-frames", {"B": 1, "F": 8, "N": 4, "H": 2, "D": 64}),
    Case("primes", {"B": 3, "F": 13, "N": 7, "H": 3, "D": 40}),
    Case("one-position", {"B": 1, "F": 16, "N": 1, "H": 1, "D": 16}),
    Case("past-a-power", {"B": 1, "F": 17, "N": 5, "H": 1, "D": 33}),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """Views of one (B, F, N, 3, H, D) product, as a qkv layer outputs it; scores with standard deviation 4."""
    packed = new(sizes["B"], sizes["F"], sizes["N"], 3, sizes["H"], sizes["D"], scale=2.0)
    query, key, value = packed.unbind(3)
    return {"query": query, "key": key, "value": value, "scale": sizes["D"] ** -0.5}


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """Queries times keys, weights times values."""
    return 4 * sizes["B"] * sizes["N"] * sizes["H"] * sizes["F"] ** 2 * sizes["D"]


OPERATION = Operation(
    name="temporal_attention",
    fuses="three copies, attention, copy back",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
