"""Spatial attention at the sizes of VPP: B images (views * frames), N tokens, H heads of D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.kernels.spatial_attention.reference import reference

CASES = (
    Case("unet-32x32", {"B": 32, "N": 1024, "H": 5, "D": 64}, calls=2),
    Case("unet-16x16", {"B": 32, "N": 256, "H": 10, "D": 64}, calls=2),
    Case("unet-8x8", {"B": 32, "N": 64, "H": 20, "D": 64}, calls=5),
    Case("unet-4x4", {"B": 32, "N": 16, "H": 20, "D": 64}, calls=1),
    Case("small-16x16", {"B": 1, "N": 256, "H": 2, "D": 64}),
    Case("small-8x8", {"B": 2, "N": 64, "H": 5, "D": 64}),
    Case("small-4x4", {"B": 2, "N": 16, "H": 5, "D": 64}),
    Case("primes", {"B": 3, "N": 131, "H": 3, "D": 41}),
    Case("one-token", {"B": 2, "N": 1, "H": 1, "D": 16}),
    Case("past-a-power", {"B": 1, "N": 65, "H": 1, "D": 33}),
    Case("past-a-small-power", {"B": 1, "N": 17, "H": 2, "D": 64}),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """Views of one (B, N, 3, H, D) product, as a qkv layer outputs it; scores with standard deviation 4."""
    packed = new(sizes["B"], sizes["N"], 3, sizes["H"], sizes["D"], scale=2.0)
    query, key, value = packed.unbind(2)
    return {"query": query, "key": key, "value": value, "scale": sizes["D"] ** -0.5}


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """Queries times keys, weights times values."""
    return 4 * sizes["B"] * sizes["H"] * sizes["N"] ** 2 * sizes["D"]


OPERATION = Operation(
    name="spatial_attention",
    fuses="attention, read from the packed product",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
