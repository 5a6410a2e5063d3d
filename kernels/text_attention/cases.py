"""Text attention at the sizes of VPP: N tokens (views * frames * pixels) of C channels, H heads, T text tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.kernels.text_attention.reference import reference

# Each transformer has two: in its spatial and in its temporal part.
CASES = (
    Case("unet-32x32", {"N": 32768, "C": 320, "H": 5, "T": 20}, calls=4),
    Case("unet-16x16", {"N": 8192, "C": 640, "H": 10, "T": 20}, calls=4),
    Case("unet-8x8", {"N": 2048, "C": 1280, "H": 20, "T": 20}, calls=10),
    Case("unet-4x4", {"N": 512, "C": 1280, "H": 20, "T": 20}, calls=2),
    Case("small", {"N": 64, "C": 320, "H": 5, "T": 20}),
    Case("two-tiles", {"N": 33, "C": 48, "H": 10, "T": 20}),
    Case("primes", {"N": 71, "C": 67, "H": 7, "T": 13}),
    Case("one-token", {"N": 1, "C": 16, "H": 1, "T": 1}),
    Case("past-a-power", {"N": 65, "C": 65, "H": 2, "T": 33}),
    Case("long-text", {"N": 5, "C": 64, "H": 2, "T": 77}),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """Tokens with gaps between rows, and keys that give scores with standard deviation 4."""
    wide = new(sizes["N"], sizes["C"] + 16)
    keys = new(sizes["H"] * sizes["T"], sizes["C"], scale=4 * sizes["C"] ** -0.5)
    return {"tokens": wide[:, : sizes["C"]], "keys": keys, "heads": sizes["H"]}


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """Tokens times keys."""
    return 2 * sizes["N"] * sizes["C"] * sizes["H"] * sizes["T"]


OPERATION = Operation(
    name="text_attention",
    fuses="matmul, softmax over the text per head",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
