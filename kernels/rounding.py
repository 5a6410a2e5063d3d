"""Conversion of a kernel's fp32 results to fp16, or to int8 for a quantized matrix product."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def cast_output(x, inverse_step):
    """x in fp16, or quantized to int8 if a step is given, rounding ties to even like QuantizeLinear.

    inverse_step: 1 / quantization step, or None at compile time.
    """
    if inverse_step is None:
        rounded = x.to(tl.float16)
    else:
        steps = tl.minimum(tl.maximum(x * inverse_step, -128.0), 127.0)
        # Adding 1.5 * 2^23 leaves no bits for a fraction, so the addition itself rounds, to nearest even (IEEE 754).
        rounded = ((steps + 12582912.0) - 12582912.0).to(tl.int8)
    return rounded
