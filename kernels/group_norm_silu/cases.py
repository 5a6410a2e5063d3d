"""GroupNorm at the sizes of VPP: B images of C channels and S pixels in G groups. T: with a time embedding; L: followed
by SiLU; Q: int8 result; P: NCHW memory layout instead of channels-last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpp_edge.kernels.group_norm_silu.reference import reference
from vpp_edge.kernels.operation import Case, Operation, TensorFactory


def _sizes(images: int, channels: int, pixels: int, groups: int = 32, **flags: int) -> dict[str, int]:
    return {"B": images, "C": channels, "S": pixels, "G": groups, "T": 0, "L": 1, "Q": 0, "P": 0} | flags


# A residual block of the UNet has two norms over each frame, the second after the time embedding, and two more over
# the whole video. A transformer has one without SiLU. The VAE's encoder has image norms only.
CASES = (
    Case("frame-320-32x32", _sizes(32, 320, 1024), calls=2),
    Case("frame-320-32x32-time", _sizes(32, 320, 1024, T=1), calls=2),
    Case("frame-320-32x32-int8", _sizes(32, 320, 1024, Q=1), calls=4, precision="int8"),
    Case("frame-320-16x16", _sizes(32, 320, 256), calls=1),
    Case("frame-640-16x16", _sizes(32, 640, 256), calls=1),
    Case("frame-640-16x16-time", _sizes(32, 640, 256, T=1), calls=2),
    Case("frame-640-8x8", _sizes(32, 640, 64), calls=1),
    Case("frame-1280-8x8", _sizes(32, 1280, 64), calls=1),
    Case("frame-1280-8x8-time", _sizes(32, 1280, 64, T=1), calls=5),
    Case("frame-1920-8x8", _sizes(32, 1920, 64), calls=1),
    Case("frame-2560-8x8", _sizes(32, 2560, 64), calls=2),
    Case("frame-1280-4x4", _sizes(32, 1280, 16), calls=4),
    Case("frame-1280-4x4-time", _sizes(32, 1280, 16, T=1), calls=7),
    Case("frame-2560-4x4", _sizes(32, 2560, 16), calls=3),
    Case("video-320-32x32", _sizes(2, 320, 16384), calls=2),
    Case("video-320-32x32-time", _sizes(2, 320, 16384, T=1), calls=2),
    Case("video-640-16x16", _sizes(2, 640, 4096), calls=2),
    Case("video-640-16x16-time", _sizes(2, 640, 4096, T=1), calls=2),
    Case("video-1280-8x8", _sizes(2, 1280, 1024), calls=5),
    Case("video-1280-8x8-time", _sizes(2, 1280, 1024, T=1), calls=5),
    Case("video-1280-4x4", _sizes(2, 1280, 256), calls=7),
    Case("video-1280-4x4-time", _sizes(2, 1280, 256, T=1), calls=7),
    Case("transformer-320-32x32", _sizes(32, 320, 1024, L=0), calls=2),
    Case("transformer-640-16x16", _sizes(32, 640, 256, L=0), calls=2),
    Case("transformer-1280-8x8", _sizes(32, 1280, 64, L=0), calls=5),
    Case("transformer-1280-4x4", _sizes(32, 1280, 16, L=0), calls=1),
    Case("vae-128-256x256", _sizes(2, 128, 65536), calls=4),
    Case("vae-256-128x128", _sizes(2, 256, 16384), calls=3),
    Case("vae-512-64x64", _sizes(2, 512, 4096), calls=3),
    Case("vae-512-32x32", _sizes(2, 512, 1024), calls=9),
    Case("small-frame", _sizes(2, 320, 64, T=1)),
    Case("small-video", _sizes(1, 64, 2048)),
    Case("small-transformer", _sizes(1, 320, 33, L=0)),
    Case("planes", _sizes(2, 60, 70, 4, T=1, P=1)),
    Case("primes", _sizes(3, 77, 53, 7, T=1)),
    Case("one-pixel", _sizes(2, 8, 1, 2)),
    Case("one-past-a-segment", _sizes(1, 12, 1025, 3, T=1)),
    Case("int8", _sizes(1, 80, 65, 4, Q=1)),
)


def inputs(sizes: Mapping[str, int], new: TensorFactory) -> dict[str, Any]:
    """Images whose mean is four times their standard deviation, too much for half-precision sums."""
    images, channels, pixels = sizes["B"], sizes["C"], sizes["S"]
    if sizes["P"]:
        x = new(images, channels, pixels, offset=4.0)
    else:
        x = new(images, pixels, channels, offset=4.0).transpose(1, 2)
    return {
        "x": x,
        "weight": new(channels, scale=0.2, offset=1.0),
        "bias": new(channels, scale=0.2),
        "shift": new(images, channels) if sizes["T"] else None,
        "groups": sizes["G"],
        "eps": 1e-5 if sizes["L"] else 1e-6,
        "silu": bool(sizes["L"]),
        "inverse_step": 32.0 if sizes["Q"] else None,
    }


def matmul_ops(sizes: Mapping[str, int]) -> int:
    """No matrix products."""
    return 0


OPERATION = Operation(
    name="group_norm_silu",
    fuses="time embedding, GroupNorm, SiLU",
    reference=reference,
    inputs=inputs,
    matmul_ops=matmul_ops,
    cases=CASES,
)
