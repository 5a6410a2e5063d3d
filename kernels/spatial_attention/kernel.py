"""Spatial attention on the GPU, over the tokens of an image, read from the packed query, key and value.

FlashAttention 2 (arXiv 2307.08691, algorithm 1): a program holds a block of queries and passes over the keys once, with
a running maximum and sum per query. Scores never leave the chip.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import LOG2_E, ORIN, Launch, Tile, architecture_of, ceil_div, power_of_two, strides_of
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

MAX_WIDTH = 128


def tile_for(tokens: int, architecture: int) -> Tile:
    """Queries per program and keys per step, by the number of tokens of an image."""
    if tokens <= 16:
        reason = "an image is one block: one warp, no loop"
        return Tile(rows=16, columns=16, warps=1, stages=1, reason=reason)
    if tokens <= 64:
        reason = "an image is one block: a warp has 16 queries and all keys"
        return Tile(rows=64, columns=64, warps=4, stages=1, reason=reason)
    if architecture == 90:
        reason = "two warp groups of 64 queries, as required by wgmma; 112 KB of key and value blocks"
        return Tile(rows=128, columns=128, warps=8, stages=3, reason=reason)
    reason = "32 queries per warp: keys read from shared memory are used by two products of 16 rows"
    return Tile(rows=128, columns=64, warps=4, stages=3, reason=reason)


@triton.jit
def spatial_attention_kernel(
    query, key, value, out,
    tokens, heads, width, score_scale,
    query_image, query_token, query_head,
    key_image, key_token, key_head,
    value_image, value_token, value_head,
    out_image, out_token, out_head,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Attention of QUERIES tokens over all tokens of one image, for one head.

    query, key, value, out: fp16 (images, tokens, heads, width) with the given strides, the last one 1.
    score_scale: scale of q k^T, times log2(e). WHOLE: the last block of keys is full.
    """
    image, head = (tl.program_id(1) // heads).to(tl.int64), (tl.program_id(1) % heads).to(tl.int64)
    row = (tl.program_id(0) * QUERIES + tl.arange(0, QUERIES))[:, None]
    step = tl.arange(0, KEYS)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    row_inside = (row < tokens) & (column < width)

    q_at = query + image * query_image + head * query_head + row.to(tl.int64) * query_token + column
    k_at = key + image * key_image + head * key_head + step.to(tl.int64) * key_token + column
    v_at = value + image * value_image + head * value_head + step.to(tl.int64) * value_token + column
    q = tl.load(q_at, mask=row_inside, other=0.0)
    mixed = tl.zeros((QUERIES, WIDTH), tl.float32)
    running_max = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)

    ahead = tl.full((), KEYS, tl.int64)
    for start in range(0, tokens, KEYS):
        inside = (start + step < tokens) & (column < width)
        k = tl.load(k_at, mask=inside, other=0.0)
        v = tl.load(v_at, mask=inside, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * score_scale
        if not WHOLE:
            scores = tl.where(start + tl.arange(0, KEYS)[None, :] < tokens, scores, float("-inf"))
        new_max = tl.maximum(running_max, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(running_max - new_max)
        total = total * rescale + tl.sum(weights, axis=1)
        mixed = tl.dot(weights.to(tl.float16), v, mixed * rescale[:, None])
        running_max = new_max
        k_at += ahead * key_token
        v_at += ahead * value_token

    mixed = mixed * (1.0 / total)[:, None]
    o_at = out + image * out_image + head * out_head + row.to(tl.int64) * out_token + column
    tl.store(o_at, mixed.to(tl.float16), mask=row_inside)


def spatial_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None = None, out: Tensor | None = None
) -> Tensor:
    """(B, n, heads, d) fp16: for each image and head, attention over its n tokens.

    Args:
        query, key, value: (B, n, heads, d) fp16 with contiguous d, such as views of a packed product.
        scale: factor of the scores; 1 / sqrt(d) by default.
        out: (B, n, heads, d) fp16 with contiguous d; allocated by default.

    Raises:
        BadInputError: a shape, dtype, device or stride is not supported, or d > 128.
    """
    out = outputs(query=query) if out is None else out
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    for launch in launches(out, query, key, value, scale=scale, architecture=architecture_of(query)):
        launch.run()
    return out


def outputs(query: Tensor, **_: object) -> Tensor:
    """Allocate the result."""
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


def launches(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float, architecture: int = ORIN
) -> list[Launch]:
    """A single launch."""
    if query.ndim != 4 or query.shape[-1] > MAX_WIDTH:
        raise BadInputError(f"query: expected (B, n, heads, d) with d <= {MAX_WIDTH}, got {tuple(query.shape)}")
    images, tokens, heads, width = query.shape
    tensors = {"query": query, "key": key, "value": value, "out": out}
    strides: dict[str, int] = {}
    for name, tensor in tensors.items():
        expect_shape(name, tensor, tuple(query.shape), query)
        expect_dtype(name, tensor, torch.float16)
        expect_dense_rows(name, tensor)
        strides |= strides_of(name, tensor, "image", "token", "head")
    tile = tile_for(tokens, architecture)
    sizes = {"tokens": tokens, "heads": heads, "width": width, "score_scale": scale * LOG2_E}
    constants = {
        "QUERIES": tile.rows,
        "KEYS": tile.columns,
        "WIDTH": power_of_two(width, 16),
        "WHOLE": tokens % tile.columns == 0,
    }
    grid = (ceil_div(tokens, tile.rows), images * heads, 1)
    arguments = tensors | sizes | strides
    return [Launch(kernel=spatial_attention_kernel, grid=grid, arguments=arguments, constants=constants, tile=tile)]
