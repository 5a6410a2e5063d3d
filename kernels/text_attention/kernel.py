"""Attention weights over a short text, from tokens and the cached keys of the text, for all heads.

All tokens of all views and frames attend to the same 20 text tokens, so no query is computed per token:
`(x Wq) (t Wk)^T = x (Wq (t Wk)^T)`, and the bracket is cached per instruction. This leaves one thin product whose
epilogue is a softmax over the 20 columns of each head; the scores never leave the chip. The product with the cached
values, `weights @ ((t Wv) Wo)`, and the residual sum after it are one library GEMM.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from vpp_edge.errors import BadInputError
from vpp_edge.kernels.launch import LOG2_E, ORIN, Launch, Tile, ceil_div, strides_of
from vpp_edge.kernels.validation import expect_dense_rows, expect_dtype, expect_shape

DEPTH = 64
"""Channels per step: 128 bytes of a token, one cache line."""

MAX_WORDS = 128


# Three stages of 24 KB are in shared memory while the fourth is computed: 72 KB, which fits even on sm_86.
TILE = Tile(
    rows=64,
    columns=128,
    warps=4,
    stages=4,
    reason="6 heads of 20 text tokens: tokens are read once with 5 heads, twice with 10; 16 tokens per warp",
)


@triton.jit
def text_attention_kernel(
    tokens, keys, out,
    count, channels, total_scores,
    tokens_row, keys_row, out_row,
    TOKENS: tl.constexpr, SCORES: tl.constexpr, DEPTH: tl.constexpr,
    WORDS: tl.constexpr, HEADS: tl.constexpr, LOG2_E: tl.constexpr,
):  # fmt: skip
    """Weights of TOKENS tokens for HEADS whole heads.

    tokens: fp16 (count, channels). keys: fp16 (total_scores, channels). out: fp16 (count, total_scores).
    SCORES: columns of the tile, of which HEADS * WORDS are used.
    """
    row = tl.program_id(1).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    local = tl.arange(0, SCORES)
    column = tl.program_id(0) * (HEADS * WORDS) + local
    used = (local < HEADS * WORDS) & (column < total_scores)
    depth = tl.arange(0, DEPTH)

    x_at = tokens + row[:, None] * tokens_row + depth[None, :]
    k_at = keys + column[:, None].to(tl.int64) * keys_row + depth[None, :]
    scores = tl.zeros((TOKENS, SCORES), tl.float32)
    for start in range(0, channels, DEPTH):
        inside = (start + depth < channels)[None, :]
        x = tl.load(x_at, mask=(row < count)[:, None] & inside, other=0.0)
        k = tl.load(k_at, mask=used[:, None] & inside, other=0.0)
        scores = tl.dot(x, tl.trans(k), scores)
        x_at += DEPTH
        k_at += DEPTH

    scores = scores * LOG2_E
    row_max = tl.zeros((TOKENS, SCORES), tl.float32)
    for head in tl.static_range(HEADS):
        of_head = ((local // WORDS == head) & used)[None, :]
        head_max = tl.max(tl.where(of_head, scores, float("-inf")), axis=1)
        row_max = tl.where(of_head, head_max[:, None], row_max)
    weights = tl.where(used[None, :], tl.exp2(scores - row_max), 0.0)
    shares = tl.zeros((TOKENS, SCORES), tl.float32)
    for head in tl.static_range(HEADS):
        of_head = (local // WORDS == head)[None, :]
        total = tl.sum(tl.where(of_head, weights, 0.0), axis=1)  # at least 1: the weight of the maximum
        shares = tl.where(of_head, (1.0 / tl.maximum(total, 1.0))[:, None], shares)

    o_at = out + row[:, None] * out_row + column[None, :]
    tl.store(o_at, (weights * shares).to(tl.float16), mask=(row < count)[:, None] & used[None, :])


def text_attention(tokens: Tensor, keys: Tensor, heads: int, out: Tensor | None = None) -> Tensor:
    """(N, heads * T) fp16: for each token and head, softmax over the T scores `tokens @ keys^T`.

    Args:
        tokens: (N, C) fp16 with contiguous rows and any row stride.
        keys: (heads * T, C) fp16 with contiguous rows, head by head, including the factor 1 / sqrt(d).
        heads: number of heads.
        out: (N, heads * T) fp16 with contiguous rows; allocated by default.

    Raises:
        BadInputError: a shape, dtype, device or stride is not supported, or T > 128.
    """
    out = outputs(tokens=tokens, keys=keys) if out is None else out
    for launch in launches(out, tokens, keys, heads):
        launch.run()
    return out


def outputs(tokens: Tensor, keys: Tensor, **_: object) -> Tensor:
    """Allocate the result."""
    return torch.empty((tokens.shape[0], keys.shape[0]), dtype=tokens.dtype, device=tokens.device)


def launches(out: Tensor, tokens: Tensor, keys: Tensor, heads: int, architecture: int = ORIN) -> list[Launch]:
    """A single launch, with the same tile on every architecture."""
    if tokens.ndim != 2 or keys.ndim != 2 or heads < 1 or keys.shape[0] % heads or keys.shape[0] > heads * MAX_WORDS:
        raise BadInputError(
            f"expected tokens (N, C) and keys (heads * T, C) with T <= {MAX_WORDS}, got {tuple(tokens.shape)} and "
            f"{tuple(keys.shape)} for {heads} heads"
        )
    (count, channels), words = tokens.shape, keys.shape[0] // heads
    expect_shape("keys", keys, (heads * words, channels), tokens)
    expect_shape("out", out, (count, heads * words), tokens)
    tensors = {"tokens": tokens, "keys": keys, "out": out}
    strides: dict[str, int] = {}
    for name, tensor in tensors.items():
        expect_dtype(name, tensor, torch.float16)
        expect_dense_rows(name, tensor)
        strides |= strides_of(name, tensor, "row")
    tile = TILE
    tile_heads = min(tile.columns // words, heads)
    constants = {
        "TOKENS": tile.rows,
        "SCORES": tile.columns,
        "DEPTH": DEPTH,
        "WORDS": words,
        "HEADS": tile_heads,
        "LOG2_E": LOG2_E,
    }
    sizes = {"count": count, "channels": channels, "total_scores": heads * words}
    grid = (ceil_div(heads, tile_heads), ceil_div(count, tile.rows), 1)
    arguments = tensors | sizes | strides
    return [Launch(kernel=text_attention_kernel, grid=grid, arguments=arguments, constants=constants, tile=tile)]
