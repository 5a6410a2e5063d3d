"""2:4 structured sparsity of a student's weights: in, modules to be trained; out, the same with 2:4 sparse weights.

Training follows SR-STE (Zhou et al., arXiv 2102.04010): every forward pass sees only the two largest of each four
weights, all four get the gradient of the pass, and those left out are pulled to zero besides. The pattern is computed
anew in each pass, from the weights alone, so it can still change, and an interrupted training has nothing else to keep.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from vpp_edge.export.sparse_weights import GROUP, KEPT, is_two_of_four

# Added to the gradient per unit of a weight that is left out; the paper's value for convolutions.
PULL = 2e-4
_LEAST_CHANNELS = 32  # with fewer, no tile of a tensor core is full
# Layers that stay dense, by a word in their path: those that the exact export folds into constants (time embeddings) or
# multiplies with others (text attention, upsampling and last convolutions), which fills the zeros.
_DENSE = ("time_", "add_embedding", "attn2", "upsamplers", "conv_in", "conv_out", "quant_conv")


def sparse_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The Linears and convolutions of a UNet or an image encoder that are worth 2:4 sparse weights, by path."""
    return {
        path: layer
        for path, layer in module.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.Conv3d))
        and not any(word in path for word in _DENSE)
        and layer.weight.shape[1] % GROUP == 0
        and min(layer.weight.shape[:2]) >= _LEAST_CHANNELS
        and getattr(layer, "groups", 1) == 1
    }


def two_of_four(weight: Tensor) -> Tensor:
    """Bool of the shape of `weight` (out, in, ...): the two largest magnitudes of each 4 consecutive inputs.

    Of equal ones the first stay. Comparing each with each costs less than a topk over so few numbers.
    """
    sizes = weight.detach().abs().unflatten(1, (-1, GROUP)).unbind(2)
    larger = [torch.zeros_like(size, dtype=torch.int8) for size in sizes]
    for first, second in combinations(range(GROUP), 2):
        first_stays = sizes[first] >= sizes[second]
        larger[second] += first_stays
        larger[first] += ~first_stays
    return torch.stack([count < KEPT for count in larger], dim=2).flatten(1, 2)


def make_sparse(module: nn.Module) -> None:
    """Zeroes the two smallest of each four weights of `sparse_layers`, in place and without training."""
    with torch.no_grad():
        for layer in sparse_layers(module).values():
            layer.weight.mul_(two_of_four(layer.weight))


def sparse_weight_share(module: nn.Module) -> float:
    """Share of the weights of Linears and convolutions that lie in layers whose weights are 2:4 sparse."""
    layers = [m for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.Conv3d))]
    sparse = sum(m.weight.numel() for m in layers if is_two_of_four(m.weight.detach().cpu().numpy(), axis=1))
    return sparse / max(1, sum(m.weight.numel() for m in layers))


class SparseTraining:
    """Keeps the weights of modules 2:4 sparse while they are trained; make it before the optimizer.

        sparse = SparseTraining(unet, encoder)
        train("video", {"unet": unet, "encoder": encoder}, ...)
        sparse.finish()

    Until `finish`, the modules' parameters are dense and have other names: `<path>.parametrizations.weight.original`.

    Args:
        modules: UNets and image encoders; their `sparse_layers` are trained sparse.
    """

    def __init__(self, *modules: nn.Module, pull: float = PULL) -> None:
        self._layers = [layer for module in modules for layer in sparse_layers(module).values()]
        for layer in self._layers:
            parametrize.register_parametrization(layer, "weight", _TwoOfFour(pull))

    def finish(self) -> None:
        """Makes the sparse weights the parameters, under the names that they had before."""
        for layer in self._layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


class _TwoOfFour(nn.Module):
    def __init__(self, pull: float) -> None:
        super().__init__()
        self.pull = pull

    def forward(self, weight: Tensor) -> Tensor:
        sparse: Tensor = _StraightThrough.apply(weight, self.pull)
        return sparse


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, weight: Tensor, pull: float) -> Tensor:
        context.pull = pull
        sparse = weight * two_of_four(weight)
        context.save_for_backward(weight, sparse)
        return sparse

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight, sparse = context.saved_tensors
        return gradient + context.pull * (weight - sparse), None
