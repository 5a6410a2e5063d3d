"""Fold constants into the weights of eager layers, for the same results with fewer operations.

Products of weights are computed in float64 and rounded once. Tensors without folding are shared.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


def linear_from_tensors(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A Linear that uses weight (out, in) and bias (out,) in place."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer


def conv_from_tensors(
    weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int | tuple[int, int] = 0
) -> nn.Conv2d:
    """A Conv2d that uses weight (out, in, height, width) and bias (out,) in place."""
    height, width = weight.shape[2:]
    layer = nn.Conv2d(
        weight.shape[1], weight.shape[0], (height, width), stride, padding, bias=bias is not None, device="meta"
    )
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer


def bias_of(layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> Tensor:
    """(out,) in float64, zeros if the layer has none."""
    if layer.bias is None:
        return torch.zeros(layer.weight.shape[0], dtype=torch.float64)
    return layer.bias.detach().double()


def linear_after_norm(linear: nn.Linear, norm: nn.LayerNorm | nn.GroupNorm) -> nn.Linear:
    """`linear(norm(x))` as a Linear of the normalized x: W(g * x + b) + c = (W g) x + (W b + c)."""
    weight = linear.weight.detach()
    bias = bias_of(linear)
    if norm.bias is not None:
        bias = bias + weight.double() @ norm.bias.detach().double()
    return linear_from_tensors(weight * norm.weight.detach(), bias.to(weight.dtype))


def scaled_linear(linear: nn.Linear, scale: float) -> nn.Linear:
    """`scale * linear(x)`."""
    bias = None if linear.bias is None else linear.bias.detach() * scale
    return linear_from_tensors(linear.weight.detach() * scale, bias)


def standardized(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """LayerNorm over the last axis of x without scale and shift, which are folded into the next layer."""
    return functional.layer_norm(x, norm.normalized_shape, eps=norm.eps)


def grouped(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """GroupNorm of x (N, C, ...) without scale and shift, which are folded into the next layer."""
    groups = functional.instance_norm(x.reshape(x.shape[0], norm.num_groups, -1), eps=norm.eps)
    return groups.reshape(x.shape)
