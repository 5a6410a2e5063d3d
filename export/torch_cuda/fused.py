"""The perceive stage on our kernels: in, the exact stage; out, the same outputs from joined modules."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vpp_edge.export.exact.convolutions import DoubledConv
from vpp_edge.export.exact.former import LeanFormer
from vpp_edge.export.exact.image import ImageEncoder
from vpp_edge.export.exact.resnet import VideoResnet
from vpp_edge.export.exact.transformer import VideoTransformer
from vpp_edge.export.stages import PerceiveStage
from vpp_edge.export.torch_cuda.former import JoinedFormer
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.export.torch_cuda.resnet import JoinedVideoResnet, TransposedConv
from vpp_edge.export.torch_cuda.transformer import JoinedTransformer


class JoinedPerceive(nn.Module):
    """PerceiveStage on joined operations: what depends on the instruction alone is computed when it changes.

    Args:
        exact: its weights are used in place, and its modules give way to joined ones; it is of no use afterwards.
        operations: what the joined modules call.
    """

    def __init__(self, exact: PerceiveStage, operations: Operations) -> None:
        super().__init__()
        self.reader, self.former = _joined(exact.reader, operations), _joined(exact.former, operations)

    def remember(self, text_hidden: Tensor) -> None:
        """Takes an instruction's text (1, 20, S) for every call from now on."""
        for module in self.modules():
            if isinstance(module, JoinedTransformer):
                module.remember(text_hidden)

    def forward(self, frames: Tensor, video_noise: Tensor) -> Tensor:
        """(1, L, D) tokens; see `VideoReader.forward`."""
        tokens: Tensor = self.former(self.reader(frames, None, video_noise))
        return tokens


def _joined(module: nn.Module, operations: Operations) -> nn.Module:
    """The joined form of a module, or the module itself with joined ones inside."""
    if isinstance(module, VideoTransformer):
        return JoinedTransformer(module, operations)
    if isinstance(module, VideoResnet):
        return JoinedVideoResnet(module, operations)
    if isinstance(module, LeanFormer):
        return JoinedFormer(module, operations)
    if isinstance(module, DoubledConv):
        return TransposedConv(module)
    if isinstance(module, ImageEncoder):  # stays in float32, which the kernels do not take
        return module
    children: Any = list(module.named_children())
    for name, child in children:
        setattr(module, name, _joined(child, operations))
    return module
