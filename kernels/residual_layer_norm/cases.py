"""Residual LayerNorm at the sizes of VPP: B views, F frames, N pixels, C channels. P: positions, 1 for the norm only,
2 for the stream too; A: sum without norm; M: blend without norm; Q: int8 norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.operation import Case, Operation, TensorFactory
from vpp_edge.kernels.residual_layer_norm.reference import reference


def _sizes(views: int, frames: int, pixels: int, channels: int, **flags: int) -> dict[str, int]:
    return {"B": views, "F": frames, "N": pixels, "C": channels, "P": 0, "A": 0, "M": 0, "Q": 0} | flags


# A transformer has four sums followed by a norm, one whose positions go to the norm only (the blend needs the stream
# without them), one that keeps them, the blend, and the sum with its input images. A residual block ends in a sum over
# its frames and one over its video, where "positions" are the bias of a convolution, the same for every row of an
# image. A layer of the Video Former has two sums with a norm.
def _level(side: int, channels: int, count: int, blocks: int) -> tuple[Case, ...]:
    """Cases of the UNet's transformers (`count`) and residual blocks on images of side * side pixels."""
    pixels, tokens = f"{side}x{side}", side * side
    return (
        Case(f"unet-{pixels}", _sizes(2, 16, tokens, channels), calls=4 * count),
        Case(f"unet-{pixels}-positions", _sizes(2, 16, tokens, channels, P=1), calls=count),
        Case(f"unet-{pixels}-kept", _sizes(2, 16, tokens, channels, P=2), calls=count),
        Case(f"unet-{pixels}-blend", _sizes(2, 16, tokens, channels, M=1), calls=count),
        Case(f"unet-{pixels}-sum", _sizes(32, side, side, channels, A=1), calls=count),
        Case(f"unet-{pixels}-bias", _sizes(32, side, side, channels, A=1, P=2), calls=2 * blocks),
        Case(f"unet-{pixels}-int8", _sizes(2, 16, tokens, channels, Q=1), calls=4 * count, precision="int8"),
    )


CASES = (
    *_level(32, 320, count=2, blocks=2),
    *_level(16, 640, count=2, blocks=2),
    *_level(8, 1280, count=5, blocks=5),
    *_level(4, 1280, count=1, blocks=7),
    Case("former", _sizes(1, 16, 14, 384), calls=12),
    Case("small-320", _sizes(1, 4, 8, 320)),
    Case("small-1280", _sizes(1, 2, 4, 1280)),
    Case("small-positions", _sizes(2, 16, 3, 320, P=1)),
    Case("small-blend", _sizes(1, 4, 3, 640, M=1)),
    Case("small-sum", _sizes(2, 4, 5, 640, A=1)),
    Case("small-bias", _sizes(2, 3, 4, 320, A=1, P=2)),
    Case("primes", _sizes(3, 5, 7, 97, P=2)),
    Case("one-row", _sizes(1, 1, 1, 16)),
    Case("past-a-power", _sizes(1, 1, 33, 257)),
    Case("wide", _sizes(1, 1, 2, 4097)),
    Case("int8", _sizes(1, 2, 5, 320, Q=1)),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """A stream whose mean is four times its standard deviation, with gaps between rows, and a contiguous update."""
    batch, frames, tokens, width = sizes["B"], sizes["F"], sizes["N"], sizes["C"]
    normed = not (sizes["A"] or sizes["M"])
    return {
        "residual": new(batch, frames, tokens, width + 16, offset=4.0)[..., :width],
        "update": new(batch, frames, tokens, width),
        "weight": new(width, scale=0.2, offset=1.0) if normed else None,
        "bias": new(width, scale=0.2) if normed else None,
        "positions": new(frames, width) if sizes["P"] else None,
        "keep_positions": sizes["P"] == 2,
        "blended": new(batch, frames, tokens, width, offset=-4.0) if sizes["M"] else None,
        "share": 0.3 if sizes["M"] else 0.0,
        "eps": 1e-5,
        "inverse_step": 32.0 if sizes["Q"] else None,
    }


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """No matrix products."""
    return 0


OPERATION = Operation(
    name="residual_layer_norm",
    fuses="sums, positions or blend, LayerNorm",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
