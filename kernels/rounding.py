"""What a kernel stores: in, results in fp32; out, fp16, or int8 steps for a product that takes them."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def stored(x, inverse_step):
    """fp16 of x, or where a step is given the int8 number of steps nearest to x, ties to even like QuantizeLinear.

    inverse_step: steps per unit, or None at compile time.
    """
    if inverse_step is None:
        rounded = x.to(tl.float16)
    else:
        steps = tl.minimum(tl.maximum(x * inverse_step, -128.0), 127.0)
        # 1.5 * 2^23 leaves no bits for a fraction: the addition rounds as IEEE 754 rounds.
        rounded = ((steps + 12582912.0) - 12582912.0).to(tl.int8)
    return rounded
