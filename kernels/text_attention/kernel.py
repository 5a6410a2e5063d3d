"""Attention weights over a short text: in, tokens and the text's cached keys; out, the weights of every head.

All tokens of all views and frames see the same 20 words, so neither queries nor keys are made for each token:
`(x Wq) (t Wk)^T = x (Wq (t Wk)^T)`, and the bracket is cached per instruction. What is left is one thin product whose
epilogue is a softmax over each head's 20 columns; the scores never leave the chip. The product with the cached values,
`weights @ ((t Wv) Wo)`, and the residual sum behind it are one GEMM of any library.
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
"""Channels of a step: 128 bytes of a token, one cache line."""

MAX_WORDS = 128


# Three stages of 24 KB are in shared memory while the fourth is computed: 72 KB, which sm_86 has too.
TILE = Tile(64, 128, 4, 4, "6 heads of 20 words: tokens are read once at 5 heads, twice at 10; 16 tokens a warp")


@triton.jit
def text_attention_kernel(
    tokens, keys, out,
    count, channels, scores_in_all,
    tokens_row, keys_row, out_row,
    TOKENS: tl.constexpr, SCORES: tl.constexpr, DEPTH: tl.constexpr,
    WORDS: tl.constexpr, HEADS: tl.constexpr, LOG2_E: tl.constexpr,
):  # fmt: skip
    """Weights of TOKENS tokens for HEADS whole heads.

    tokens: fp16 (count, channels). keys: fp16 (scores_in_all, channels). out: fp16 (count, scores_in_all).
    SCORES: columns of the tile, of which HEADS * WORDS are used.
    """
    row = tl.program_id(1).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    local = tl.arange(0, SCORES)
    column = tl.program_id(0) * (HEADS * WORDS) + local
    used = (local < HEADS * WORDS) & (column < scores_in_all)
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
    largest = tl.zeros((TOKENS, SCORES), tl.float32)
    for head in tl.static_range(HEADS):
        of_head = ((local // WORDS == head) & used)[None, :]
        most = tl.max(tl.where(of_head, scores, float("-inf")), axis=1)
        largest = tl.where(of_head, most[:, None], largest)
    weights = tl.where(used[None, :], tl.exp2(scores - largest), 0.0)
    shares = tl.zeros((TOKENS, SCORES), tl.float32)
    for head in tl.static_range(HEADS):
        of_head = (local // WORDS == head)[None, :]
        total = tl.sum(tl.where(of_head, weights, 0.0), axis=1)  # at least 1, for the largest
        shares = tl.where(of_head, (1.0 / tl.maximum(total, 1.0))[:, None], shares)

    o_at = out + row[:, None] * out_row + column[None, :]
    tl.store(o_at, (weights * shares).to(tl.float16), mask=(row < count)[:, None] & used[None, :])


def text_attention(tokens: Tensor, keys: Tensor, heads: int, out: Tensor | None = None) -> Tensor:
    """(N, heads * T) fp16: for each token and head, softmax over the T scores `tokens @ keys^T`.

    Args:
        tokens: (N, C) fp16, rows dense, any stride between them.
        keys: (heads * T, C) fp16, head by head, with 1 / sqrt(d) in it; rows dense.
        heads: how many.
        out: (N, heads * T) fp16 to write to, rows dense; made when left out.

    Raises:
        BadInputError: a shape, dtype, device or stride does not fit, or T > 128.
    """
    out = outputs(tokens=tokens, keys=keys) if out is None else out
    for launch in launches(out, tokens, keys, heads):
        launch.run()
    return out


def outputs(tokens: Tensor, keys: Tensor, **_: object) -> Tensor:
    """What the result is written to."""
    return torch.empty((tokens.shape[0], keys.shape[0]), dtype=tokens.dtype, device=tokens.device)


def launches(out: Tensor, tokens: Tensor, keys: Tensor, heads: int, architecture: int = ORIN) -> list[Launch]:
    """The one launch; the same tile serves every architecture."""
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
    together = min(tile.columns // words, heads)
    constants = {
        "TOKENS": tile.rows,
        "SCORES": tile.columns,
        "DEPTH": DEPTH,
        "WORDS": words,
        "HEADS": together,
        "LOG2_E": LOG2_E,
    }
    sizes = {"count": count, "channels": channels, "scores_in_all": heads * words}
    grid = (ceil_div(heads, together), ceil_div(count, tile.rows), 1)
    return [Launch(text_attention_kernel, grid, tensors | sizes | strides, constants, tile)]
