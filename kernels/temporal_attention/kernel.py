"""Temporal attention on the GPU, over the frames of a pixel, in the memory layout of the spatial layers.

The 16 frames of a pixel are exactly the smallest tile of a tensor core, so one pixel of one head is one pair of matrix
products, and a program computes a batch of them. Nothing is transposed: frames are read by stride.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import LOG2_E, ORIN, Launch, Tile, ceil_div, power_of_two, strides_of
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

MAX_FRAMES, MAX_WIDTH = 64, 128

# By padded number of frames: a warp holds (rows / warps) pixel-heads of q, k, v and scores in registers.
TILES = {
    16: Tile(
        rows=8,
        columns=16,
        warps=4,
        stages=1,
        reason="2 pixel-heads per warp: 8 loads of 16 bytes in flight per thread and operand, no spills",
    ),
    32: Tile(
        rows=4, columns=32, warps=4, stages=1, reason="half as many as with 16 frames, for the same number of registers"
    ),
    64: Tile(rows=4, columns=64, warps=4, stages=1, reason="one pixel-head per warp"),
}


@triton.jit
def temporal_attention_kernel(
    query, key, value, out,
    frames, pairs, heads, width, score_scale,
    query_batch, query_frame, query_position, query_head,
    key_batch, key_frame, key_position, key_head,
    value_batch, value_frame, value_position, value_head,
    out_batch, out_frame, out_position, out_head,
    PAIRS: tl.constexpr, FRAMES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Softmax over frames for PAIRS (position, head) pairs of one video.

    query, key, value, out: fp16 (B, frames, positions, heads, width) with the given strides, the last one 1.
    pairs: positions * heads. score_scale: scale of q k^T, times log2(e).
    """
    batch = tl.program_id(1).to(tl.int64)
    pair = (tl.program_id(0) * PAIRS + tl.arange(0, PAIRS))[:, None, None]
    frame = tl.arange(0, FRAMES)[None, :, None].to(tl.int64)
    column = tl.arange(0, WIDTH)[None, None, :]
    position, head = (pair // heads).to(tl.int64), (pair % heads).to(tl.int64)
    inside = (pair < pairs) & (frame < frames) & (column < width)

    q_at = query + batch * query_batch + position * query_position + head * query_head + frame * query_frame + column
    k_at = key + batch * key_batch + position * key_position + head * key_head + frame * key_frame + column
    v_at = value + batch * value_batch + position * value_position + head * value_head + frame * value_frame + column
    q = tl.load(q_at, mask=inside, other=0.0)
    k = tl.load(k_at, mask=inside, other=0.0)
    v = tl.load(v_at, mask=inside, other=0.0)

    scores = tl.dot(q, tl.permute(k, (0, 2, 1))) * score_scale
    seen = tl.arange(0, FRAMES)[None, None, :] < frames
    scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, axis=2, keep_dims=True))
    inverse_total = 1.0 / tl.sum(weights, axis=2, keep_dims=True)
    mixed = tl.dot(weights.to(tl.float16), v) * inverse_total

    o_at = out + batch * out_batch + position * out_position + head * out_head + frame * out_frame + column
    tl.store(o_at, mixed.to(tl.float16), mask=inside)


def temporal_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, out: Tensor | None = None
) -> Tensor:
    """(B, F, n, heads, d) fp16: for each of n positions and each head, attention over the F frames.

    Args:
        query, key, value: (B, F, n, heads, d) fp16 with contiguous d, such as views of a packed product.
        scale: factor of the scores; 1 / sqrt(d) by default.
        out: (B, F, n, heads, d) fp16 with contiguous d; allocated by default.

    Raises:
        BadInputError: a shape, dtype, device or stride is not supported, or F > 64, or d > 128.
    """
    out = outputs(query=query) if out is None else out
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    for launch in launches(out, query, key, value, scale=scale):
        launch.run()
    return out


def outputs(query: Tensor, **_: object) -> Tensor:
    """Allocate the result."""
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


def launches(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float, architecture: int = ORIN
) -> list[Launch]:
    """A single launch, with the same tiles on every architecture."""
    if query.ndim != 5 or query.shape[1] > MAX_FRAMES or query.shape[-1] > MAX_WIDTH:
        raise BadInputError(
            f"query: expected (B, F, n, heads, d) with F <= {MAX_FRAMES} and d <= {MAX_WIDTH}, got {tuple(query.shape)}"
        )
    batch, frames, positions, heads, width = query.shape
    tensors = {"query": query, "key": key, "value": value, "out": out}
    strides: dict[str, int] = {}
    for name, tensor in tensors.items():
        expect_shape(name, tensor, tuple(query.shape), query)
        expect_dtype(name, tensor, torch.float16)
        expect_dense_rows(name, tensor)
        strides |= strides_of(name, tensor, "batch", "frame", "position", "head")
    block = power_of_two(frames, 16)
    tile, pairs = TILES[block], positions * heads
    sizes = {"frames": frames, "pairs": pairs, "heads": heads, "width": width, "score_scale": scale * LOG2_E}
    constants = {"PAIRS": tile.rows, "FRAMES": block, "WIDTH": power_of_two(width, 16)}
    grid = (ceil_div(pairs, tile.rows), batch, 1)
    arguments = tensors | sizes | strides
    return [Launch(kernel=temporal_attention_kernel, grid=grid, arguments=arguments, constants=constants, tile=tile)]
