"""Perceiver attention on the GPU: queries attend to the features of their frame and to each other in one softmax.

The online softmax starts with the scores of the queries among themselves (`own_scores`) and continues with the
features, so nothing is concatenated. The queries are already multiplied by the key weights (`carried`), so all heads
share the features as keys and as values: a block of features is read once for both products.

A width such as 384 is not a power of two. It is split into the largest one below it and the rest, 256 and 128, with
separate products.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import LOG2_E, ORIN, Launch, Tile, architecture_of, ceil_div, power_of_two, strides_of
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

MAX_WIDTH, MAX_QUERIES = 512, 64


def tile_for(architecture: int) -> Tile:
    """Rows per program and features per step, for a total of 16 frames with 112 rows each."""
    if architecture == ORIN:
        reason = "64 programs for 16 multiprocessors; with 4 warps the 384-wide rows and sums spill"
        return Tile(rows=32, columns=32, warps=8, stages=3, reason=reason)
    reason = "112 programs for 84 to 132 multiprocessors"
    return Tile(rows=16, columns=32, warps=4, stages=3, reason=reason)


@triton.jit
def perceiver_attention_kernel(
    carried, features, own_scores, out, own_weights,
    rows, count, width, queries,
    carried_frame, carried_row, features_frame, features_token, own_scores_frame, own_scores_row,
    out_frame, out_row, own_weights_frame, own_weights_row,
    ROWS: tl.constexpr, TOKENS: tl.constexpr, QUERIES: tl.constexpr,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, LOG2_E: tl.constexpr,
):  # fmt: skip
    """ROWS rows of one frame against all of its features.

    carried: fp16 (frames, rows, width). features: fp16 (frames, count, width). own_scores: fp16 (frames, rows,
    queries). out: fp16 (frames, rows, width). own_weights: fp16 (frames, rows, queries). Strides as given, the last 1.
    LEFT, RIGHT: the two parts of the width; RIGHT is 0 if there is only one.
    """
    frame = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    token = tl.arange(0, TOKENS)
    left, right = tl.arange(0, LEFT)[None, :], LEFT + tl.arange(0, max(RIGHT, 16))[None, :]
    own = tl.arange(0, QUERIES)[None, :]
    row_inside, row_at = (row < rows)[:, None], row[:, None].to(tl.int64)

    q_at = carried + frame * carried_frame + row_at * carried_row
    q_left = tl.load(q_at + left, mask=row_inside & (left < width), other=0.0)
    if RIGHT > 0:
        q_right = tl.load(q_at + right, mask=row_inside & (right < width), other=0.0)
        mixed_right = tl.zeros((ROWS, RIGHT), tl.float32)
    mixed_left = tl.zeros((ROWS, LEFT), tl.float32)

    own_inside = row_inside & (own < queries)
    s_at = own_scores + frame * own_scores_frame + row_at * own_scores_row + own
    own_logits = tl.load(s_at, mask=own_inside, other=0.0).to(tl.float32) * LOG2_E
    own_logits = tl.where(own < queries, own_logits, float("-inf"))
    running_max = tl.max(own_logits, axis=1)
    total = tl.sum(tl.exp2(own_logits - running_max[:, None]), axis=1)

    x_at = features + frame * features_frame + token[:, None].to(tl.int64) * features_token
    ahead = tl.full((), TOKENS, tl.int64)
    for start in range(0, count, TOKENS):
        inside = (start + token < count)[:, None]
        x_left = tl.load(x_at + left, mask=inside & (left < width), other=0.0)
        scores = tl.dot(q_left, tl.trans(x_left))
        if RIGHT > 0:
            x_right = tl.load(x_at + right, mask=inside & (right < width), other=0.0)
            scores = tl.dot(q_right, tl.trans(x_right), scores)
        scores = tl.where((start + token < count)[None, :], scores * LOG2_E, float("-inf"))
        new_max = tl.maximum(running_max, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(running_max - new_max)
        total = total * rescale + tl.sum(weights, axis=1)
        mixed_left = tl.dot(weights.to(tl.float16), x_left, mixed_left * rescale[:, None])
        if RIGHT > 0:
            mixed_right = tl.dot(weights.to(tl.float16), x_right, mixed_right * rescale[:, None])
        running_max = new_max
        x_at += ahead * features_token

    inverse_total = (1.0 / total)[:, None]
    o_at = out + frame * out_frame + row_at * out_row
    tl.store(o_at + left, (mixed_left * inverse_total).to(tl.float16), mask=row_inside & (left < width))
    if RIGHT > 0:
        tl.store(o_at + right, (mixed_right * inverse_total).to(tl.float16), mask=row_inside & (right < width))
    w_at = own_weights + frame * own_weights_frame + row_at * own_weights_row + own
    tl.store(w_at, (tl.exp2(own_logits - running_max[:, None]) * inverse_total).to(tl.float16), mask=own_inside)


def perceiver_attention(
    carried: Tensor, features: Tensor, own_scores: Tensor, out: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the features for each row (F, R, D), and the weights of the queries (F, R, Q), both fp16.

    The last axis of every tensor must be contiguous.

    Args:
        carried: (F, R, D) fp16, R = heads * Q queries multiplied by their head's key weights, scaled by 1 / sqrt(d).
        features: (F, n, D) fp16, keys and values of every row.
        own_scores: (F, R, Q) fp16, scores of the queries among themselves.
        out: both results; allocated by default.

    Raises:
        BadInputError: a shape, dtype, device or stride is not supported, or D > 512, or Q > 64.
    """
    out = outputs(carried=carried, own_scores=own_scores) if out is None else out
    for launch in launches(out, carried, features, own_scores, architecture=architecture_of(carried)):
        launch.run()
    return out


def outputs(carried: Tensor, own_scores: Tensor, **_: object) -> tuple[Tensor, Tensor]:
    """Allocate the results."""
    return torch.empty_like(carried), torch.empty_like(own_scores)


def launches(
    out: tuple[Tensor, Tensor], carried: Tensor, features: Tensor, own_scores: Tensor, architecture: int = ORIN
) -> list[Launch]:
    """A single launch."""
    if carried.ndim != 3 or carried.shape[-1] > MAX_WIDTH or own_scores.shape[-1] > MAX_QUERIES:
        raise BadInputError(
            f"expected carried (F, R, D) with D <= {MAX_WIDTH} and own_scores (F, R, Q) with Q <= {MAX_QUERIES}, got "
            f"{tuple(carried.shape)} and {tuple(own_scores.shape)}"
        )
    (frames, rows, width), count, queries = carried.shape, features.shape[1], own_scores.shape[-1]
    expect_shape("features", features, (frames, count, width), carried)
    for name, tensor, last in (
        ("own_scores", own_scores, queries),
        ("out[0]", out[0], width),
        ("out[1]", out[1], queries),
    ):
        expect_shape(name, tensor, (frames, rows, last), carried)
    tensors = {
        "carried": carried,
        "features": features,
        "own_scores": own_scores,
        "out": out[0],
        "own_weights": out[1],
    }
    strides: dict[str, int] = {}
    for name, tensor in tensors.items():
        expect_dtype(name, tensor, torch.float16)
        expect_dense_rows(name, tensor)
        strides |= strides_of(name, tensor, "frame", "token" if name == "features" else "row")
    tile, (left, right) = tile_for(architecture), split_width(width)
    constants = {
        "ROWS": tile.rows,
        "TOKENS": tile.columns,
        "QUERIES": power_of_two(queries, 16),
        "LEFT": left,
        "RIGHT": right,
        "LOG2_E": LOG2_E,
    }
    sizes = {"rows": rows, "count": count, "width": width, "queries": queries}
    grid = (ceil_div(rows, tile.rows), frames, 1)
    arguments = tensors | sizes | strides
    return [Launch(kernel=perceiver_attention_kernel, grid=grid, arguments=arguments, constants=constants, tile=tile)]


def split_width(width: int) -> tuple[int, int]:
    """Two powers of two, each at least 16, that cover a width with the least padding; the second may be 0."""
    whole = power_of_two(width, 16)
    rest = width - whole // 2
    if rest > whole // 4 or whole == 16:
        return whole, 0
    return whole // 2, power_of_two(rest, 16)
