"""GEGLU at the sizes of VPP: N tokens, H hidden channels; Q: int8 result; E: gates near -3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.geglu.reference import reference
from vpp_edge.kernels.operation import Case, Operation, TensorFactory

# Each transformer has three: after attention over pixels, and before and after attention over frames.
CASES = (
    Case("unet-32x32", {"N": 32768, "H": 1280, "Q": 0, "E": 0}, calls=6),
    Case("unet-32x32-int8", {"N": 32768, "H": 1280, "Q": 1, "E": 0}, calls=6, precision="int8"),
    Case("unet-16x16", {"N": 8192, "H": 2560, "Q": 0, "E": 0}, calls=6),
    Case("unet-16x16-int8", {"N": 8192, "H": 2560, "Q": 1, "E": 0}, calls=6, precision="int8"),
    Case("unet-8x8", {"N": 2048, "H": 5120, "Q": 0, "E": 0}, calls=15),
    Case("unet-8x8-int8", {"N": 2048, "H": 5120, "Q": 1, "E": 0}, calls=15, precision="int8"),
    Case("unet-4x4", {"N": 512, "H": 5120, "Q": 0, "E": 0}, calls=3),
    Case("small", {"N": 16, "H": 1280, "Q": 0, "E": 0}),
    Case("primes", {"N": 13, "H": 331, "Q": 0, "E": 0}),
    Case("one-row", {"N": 1, "H": 16, "Q": 0, "E": 0}),
    Case("past-a-power", {"N": 9, "H": 257, "Q": 0, "E": 0}),
    Case("closed-gates", {"N": 7, "H": 160, "Q": 0, "E": 1}),
    Case("int8", {"N": 16, "H": 320, "Q": 1, "E": 0}),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """Halves of one matrix product, as a feed-forward layer outputs them."""
    value, gate = new(sizes["N"], 2 * sizes["H"], scale=2.0).chunk(2, dim=1)
    if sizes["E"]:
        gate.mul_(0.15).sub_(3)  # where approximations of GELU are wrong by 10 %
    return {"value": value, "gate": gate, "inverse_step": 8.0 if sizes["Q"] else None}


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """No matrix products."""
    return 0


OPERATION = Operation(
    name="geglu",
    fuses="GELU, multiplication",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
