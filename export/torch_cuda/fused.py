"""The perceive stage on our kernels: replaces the modules of the exact stage by fused ones with the same outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vpp_edge.export.exact.convolutions import DoubledConv
from vpp_edge.export.exact.former import LeanFormer
from vpp_edge.export.exact.image import LeanKLEncoder, LeanTinyEncoder
from vpp_edge.export.exact.resnet import VideoResnet
from vpp_edge.export.exact.transformer import VideoTransformer
from vpp_edge.export.stages import PerceiveStage
from vpp_edge.export.torch_cuda.former import FusedFormer
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.export.torch_cuda.resnet import FusedVideoResnet, TransposedConv
from vpp_edge.export.torch_cuda.transformer import FusedTransformer


class FusedPerceiveStage(nn.Module):
    """PerceiveStage on fused operations; values that depend only on the instruction are computed when it changes.

    Args:
        exact: its weights are shared and its modules replaced in place, so it cannot be used afterwards.
        operations: called by the fused modules.
    """

    def __init__(self, exact: PerceiveStage, operations: Operations) -> None:
        super().__init__()
        self.reader, self.former = _fused(exact.reader, operations), _fused(exact.former, operations)

    def cache_text(self, text_hidden: Tensor) -> None:
        """Set the instruction's text (1, 20, S) for all following calls."""
        for module in self.modules():
            if isinstance(module, FusedTransformer):
                module.cache_text(text_hidden)

    def forward(self, frames: Tensor, video_noise: Tensor) -> Tensor:
        """(1, L, D) tokens; see `VideoReader.forward`."""
        tokens: Tensor = self.former(self.reader(frames, None, video_noise))
        return tokens


def _fused(module: nn.Module, operations: Operations) -> nn.Module:
    """The fused form of a module, or the module itself with its children fused."""
    if isinstance(module, VideoTransformer):
        return FusedTransformer(module, operations)
    if isinstance(module, VideoResnet):
        return FusedVideoResnet(module, operations)
    if isinstance(module, LeanFormer):
        return FusedFormer(module, operations)
    if isinstance(module, DoubledConv):
        return TransposedConv(module)
    if isinstance(module, LeanKLEncoder | LeanTinyEncoder):  # stay in float32, which the kernels do not support
        return module
    children: Any = list(module.named_children())
    for name, child in children:
        setattr(module, name, _fused(child, operations))
    return module
