"""Operations that become function calls in an exported graph.

Outside of an export they are plain PyTorch, so the modules that use them can be compared with the eager model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from vpp_edge.export.functions.definitions import DOMAIN, VERSION


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T) v for (..., n, d), (..., m, d), (..., m, d); the query already includes 1 / sqrt(d)."""
    return torch.matmul(torch.matmul(query, key.transpose(-1, -2)).softmax(dim=-1), value)


def temporal_attention(packed: Tensor, grid: tuple[int, int, int], heads: int) -> Tensor:
    """(V * F * n, heads * d): attention of every pixel over its F frames.

    Args:
        packed: (V * F * n, 3 * heads * d) query, key and value.
        grid: (V, F, n).
    """
    shape = (*grid, 3, heads, packed.shape[1] // (3 * heads))
    if torch.onnx.is_in_onnx_export():
        return _call("temporal_attention", [packed], {"grid": shape}, (packed.shape[0], packed.shape[1] // 3))
    q, k, v = packed.reshape(shape).permute(3, 0, 2, 4, 1, 5)  # (V, n, heads, F, d)
    return attend(q, k, v).permute(0, 3, 1, 2, 4).reshape(packed.shape[0], -1)


def spatial_attention(packed: Tensor, images: int, heads: int) -> Tensor:
    """(N * n, heads * d): attention of every token over the tokens of its image.

    Args:
        packed: (N * n, 3 * heads * d) query, key and value.
        images: N.
    """
    shape = (images, packed.shape[0] // images, 3, heads, packed.shape[1] // (3 * heads))
    if torch.onnx.is_in_onnx_export():
        return _call("spatial_attention", [packed], {"grid": shape}, (packed.shape[0], packed.shape[1] // 3))
    q, k, v = packed.reshape(shape).permute(2, 0, 3, 1, 4)  # (N, heads, n, d)
    return attend(q, k, v).transpose(1, 2).reshape(packed.shape[0], -1)


def text_attention(tokens: Tensor, keys: Tensor, heads: int) -> Tensor:
    """(N, heads * T) weights, which sum to one for each head.

    Args:
        tokens: (N, C).
        keys: (heads * T, C), head by head.
    """
    count, scores = tokens.shape[0], keys.shape[0]
    if torch.onnx.is_in_onnx_export():
        grid = (count, heads, scores // heads)
        return _call("text_attention", [tokens, keys], {"grid": grid}, (count, scores))
    return torch.matmul(tokens, keys.t()).unflatten(1, (heads, -1)).softmax(dim=-1).flatten(1)


def group_norm_silu(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """silu(norm(x)), for x (N, C, ., .)."""
    if not torch.onnx.is_in_onnx_export():
        return functional.silu(norm(x))
    count, groups = x.shape[0], norm.num_groups
    one, zero = (torch.full((groups,), number, dtype=x.dtype) for number in (1.0, 0.0))
    inputs = [x, one, zero, norm.weight.reshape(-1, 1, 1), norm.bias.reshape(-1, 1, 1)]
    attributes = {
        "groups": (count, groups, math.prod(x.shape[1:]) // groups),
        "shape": tuple(x.shape),
        "epsilon": norm.eps,
    }
    return _call("group_norm_silu", inputs, attributes, x.shape)


def _call(name: str, inputs: Sequence[Tensor], attributes: Mapping[str, Any], shape: Sequence[int]) -> Tensor:
    attributes = {key: list(value) if isinstance(value, tuple) else value for key, value in attributes.items()}
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{name}", list(inputs), attributes, dtype=inputs[0].dtype, shape=shape, version=VERSION
    )
