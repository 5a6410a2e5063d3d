"""The functions of the domain `vpp_edge` as ONNX, with bodies of standard operators.

Runtimes without a kernel for a function run its body: ONNX Runtime and TensorRT's parser inline it. Bodies are untyped,
so the same one works in float32 and FP16; typed constants are inputs. TensorRT's parser looks functions up by name
without the domain, so the name must not be that of a standard operator.

Engines fuse pointwise operations into the product before them, so GEGLU and residual sums are not functions: a separate
kernel would move more. They do not fuse the copies around attention over frames, attention itself, or a GroupNorm,
which needs the whole image first.
"""

from __future__ import annotations

from typing import Any

DOMAIN = "vpp_edge"
VERSION = 1

# `packed` is query, key and value of each head from one matrix product; the query includes the scale of the scores.
_DEFINITIONS = {
    # grid: V, F, n, 3, heads, d. (V * F * n, heads * d) from packed (V * F * n, 3 * heads * d): over the F frames.
    "temporal_attention": """
temporal_attention <grid> (packed) => (mixed) {
    shape = Constant <value_ints: ints = @grid> ()
    split = Reshape (packed, shape)
    apart = Transpose <perm = [3, 0, 2, 4, 1, 5]> (split)
    queries, keys, values = Split <axis = 0, num_outputs = 3> (apart)
    first = Constant <value_ints = [0]> ()
    query = Squeeze (queries, first)
    key = Squeeze (keys, first)
    value = Squeeze (values, first)
    turned = Transpose <perm = [0, 1, 2, 4, 3]> (key)
    scores = MatMul (query, turned)
    weights = Softmax <axis = -1> (scores)
    attended = MatMul (weights, value)
    together = Transpose <perm = [0, 3, 1, 2, 4]> (attended)
    mixed = Flatten <axis = 3> (together)
}""",
    # grid: N, n, 3, heads, d. (N * n, heads * d) from packed (N * n, 3 * heads * d): over the n tokens of an image.
    "spatial_attention": """
spatial_attention <grid> (packed) => (mixed) {
    shape = Constant <value_ints: ints = @grid> ()
    split = Reshape (packed, shape)
    apart = Transpose <perm = [2, 0, 3, 1, 4]> (split)
    queries, keys, values = Split <axis = 0, num_outputs = 3> (apart)
    first = Constant <value_ints = [0]> ()
    query = Squeeze (queries, first)
    key = Squeeze (keys, first)
    value = Squeeze (values, first)
    turned = Transpose <perm = [0, 1, 3, 2]> (key)
    scores = MatMul (query, turned)
    weights = Softmax <axis = -1> (scores)
    attended = MatMul (weights, value)
    together = Transpose <perm = [0, 2, 1, 3]> (attended)
    mixed = Flatten <axis = 2> (together)
}""",
    # grid: N, heads, T. (N, heads * T) weights from tokens (N, C) and keys (heads * T, C).
    "text_attention": """
text_attention <grid> (tokens, keys) => (weights) {
    turned = Transpose <perm = [1, 0]> (keys)
    scores = MatMul (tokens, turned)
    shape = Constant <value_ints: ints = @grid> ()
    split = Reshape (scores, shape)
    shares = Softmax <axis = -1> (split)
    weights = Flatten <axis = 1> (shares)
}""",
    # groups: N, G, elements per group; shape: of x. one, zero: (G,), scale and shift of InstanceNormalization.
    # weight, bias: (C, 1, 1).
    "group_norm_silu": """
group_norm_silu <groups, shape, epsilon> (x, one, zero, weight, bias) => (activated) {
    apart = Constant <value_ints: ints = @groups> ()
    grouped = Reshape (x, apart)
    standard = InstanceNormalization <epsilon: float = @epsilon> (grouped, one, zero)
    together = Constant <value_ints: ints = @shape> ()
    restored = Reshape (standard, together)
    scaled = Mul (restored, weight)
    shifted = Add (scaled, bias)
    gate = Sigmoid (shifted)
    activated = Mul (shifted, gate)
}""",
}
NAMES = tuple(_DEFINITIONS)


def function_from_name(name: str, opset: int) -> Any:
    """Build the onnx_ir.Function with one of NAMES.

    Args:
        opset: version of the standard operators in its body.
    """
    import onnx.parser
    import onnx_ir as ir

    header = f'<opset_import: ["" : {opset}], domain: "{DOMAIN}">'
    return ir.serde.deserialize_function(onnx.parser.parse_function(header + _DEFINITIONS[name]))
