"""Cut a smaller video model out of a trained one: in, the teacher's tensors; out, those that the student starts with.

Of N channels the student keeps n, evenly spread. So each of its group norms keeps a share of the teacher's group, and a
sinusoid has the frequencies of its own width. Attention keeps whole heads, GEGLU a share of both halves, and what reads
a concatenation a share of each part. Of several layers the first and the last are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vpp_edge.checkpoint.weights import Tensors

Shapes = Mapping[str, tuple[int, ...]]
_LAYER = re.compile(r"(?P<way>down|up)_blocks\.(?P<block>\d+)\.(?P<kind>resnets|attentions)\.(?P<layer>\d+)\.")
_BLOCK = re.compile(r"(?P<way>down|up)_blocks\.(?P<block>\d+)\.")
_HEADS_OUT = re.compile(r"attn\d\.to_[qkv]\.(weight|bias)$")
_HEADS_IN = re.compile(r"attn\d\.to_out\.0\.weight$")
_GEGLU = re.compile(r"net\.0\.proj\.(weight|bias)$")
_SHORTCUT = "conv_shortcut.weight"
_READ_CONCATENATION = re.compile(r"spatial_res_block\.(norm1\.(weight|bias)|conv1\.weight|conv_shortcut\.weight)$")


@dataclass(frozen=True)
class UnetSizes:
    """Sizes of a UNetSpatioTemporalConditionModel by block, from the latent down."""

    channels: tuple[int, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]

    def at(self, way: str, block: int) -> tuple[int, int]:
        """Layers and heads of a block."""
        number = block if way == "down" else len(self.channels) - 1 - block
        return self.layers[number] + (way == "up"), self.heads[number]

    def concatenated(self, block: int, layer: int) -> tuple[int, int]:
        """Channels from below and channels of the skip connection that a layer of an up block reads."""
        upward = self.channels[::-1]
        last = self.at("up", block)[0] - 1
        hidden = upward[max(block - 1, 0)] if layer == 0 else upward[block]
        return hidden, upward[min(block + 1, len(upward) - 1)] if layer == last else upward[block]


def unet_from_teacher(
    teacher: Tensors, config: Mapping[str, Any], own_config: Mapping[str, Any], shapes: Shapes
) -> Tensors:
    """The tensors of a student's UNetSpatioTemporalConditionModel.

    Args:
        teacher: tensors of the teacher's; config, own_config: configurations of the teacher's and the student's.
        shapes: of the student's tensors.
    """
    full, own = unet_sizes(config), unet_sizes(own_config)
    tensors: Tensors = {}
    for name, shape in shapes.items():
        source, rows, columns = name, None, None
        layer = _LAYER.search(name)
        if layer:
            source = _source(name, layer, full, own)
            if layer["way"] == "up" and _READ_CONCATENATION.search(name):
                number = int(_LAYER.search(source)["layer"])  # type: ignore[index]
                parts = full.concatenated(int(layer["block"]), number)
                own_parts = own.concatenated(int(layer["block"]), int(layer["layer"]))
                joined = _picked_parts(parts, own_parts)
                rows, columns = (joined, None) if len(shape) == 1 else (None, joined)
        heads = _heads(name, full), _heads(name, own)
        if _HEADS_OUT.search(name):
            rows = _picked_heads(teacher[source].shape[0], shape[0], *heads)
        elif _HEADS_IN.search(name):
            columns = _picked_heads(teacher[source].shape[1], shape[1], *heads)
        tensors[name] = _tensor(teacher, source, shape, rows=rows, columns=columns)
    return tensors


def encoder_from_teacher(teacher: Tensors, layers: int, own_layers: int, shapes: Shapes) -> Tensors:
    """The tensors of a smaller AutoencoderKLTemporalDecoder; arguments as above."""
    tensors = {}
    for name, shape in shapes.items():
        found = _LAYER.search(name)
        source = name
        if found and found["way"] == "down":
            taken = _layer_taken(int(found["layer"]), layers, own_layers)
            source = name[: found.start("layer")] + str(taken) + name[found.end("layer") :]
        tensors[name] = _tensor(teacher, source, shape)
    return tensors


def _tensor(
    teacher: Tensors, source: str, shape: tuple[int, ...], *, rows: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """The teacher's tensor `source` cut to `shape`; a shortcut that the teacher has not passes its channels on."""
    if source not in teacher:
        return _passing(shape) if source.endswith(_SHORTCUT) else torch.zeros(shape)
    tensor = teacher[source]
    if _GEGLU.search(source):
        half = tensor.shape[0] // 2
        rows = _picked_parts((half, half), (shape[0] // 2, shape[0] // 2))
    for dim, chosen in ((0, rows), (1, columns)):
        if dim < len(shape):
            picked = evenly(tensor.shape[dim], shape[dim]) if chosen is None else chosen
            tensor = tensor.index_select(dim, picked)
    return tensor.clone()


def unet_sizes(config: Mapping[str, Any]) -> UnetSizes:
    """The sizes of a configuration, which may give one number for all blocks."""
    channels = tuple(config["block_out_channels"])
    layers, heads = config.get("layers_per_block", 2), config.get("num_attention_heads", (5, 10, 20, 20))
    layers, heads = (tuple(v) if isinstance(v, (list, tuple)) else (v,) * len(channels) for v in (layers, heads))
    return UnetSizes(channels, layers, heads)


def _source(name: str, layer: re.Match[str], full: UnetSizes, own: UnetSizes) -> str:
    """Where the teacher has what the student has as `name`."""
    way, block = layer["way"], int(layer["block"])
    taken = _layer_taken(int(layer["layer"]), full.at(way, block)[0], own.at(way, block)[0])
    return name[: layer.start("layer")] + str(taken) + name[layer.end("layer") :]


def _layer_taken(layer: int, count: int, own_count: int) -> int:
    """Which of the teacher's `count` layers becomes a layer of the student: the first, the last, some in between."""
    return round(layer * (count - 1) / max(1, own_count - 1))


def _heads(name: str, sizes: UnetSizes) -> int:
    found = _BLOCK.search(name)
    return sizes.at(found["way"], int(found["block"]))[1] if found else sizes.heads[-1]


def evenly(count: int, own_count: int) -> Tensor:
    """(own_count,) of the numbers below `count`, evenly spread."""
    return torch.arange(own_count) * count // own_count


def _picked_parts(counts: tuple[int, ...], own_counts: tuple[int, ...]) -> Tensor:
    starts = [sum(counts[:i]) for i in range(len(counts))]
    return torch.cat([s + evenly(n, own) for s, n, own in zip(starts, counts, own_counts, strict=True)])


def _picked_heads(count: int, own_count: int, heads: int, own_heads: int) -> Tensor:
    numbers = torch.arange(count).view(heads, -1)[evenly(heads, own_heads)]
    return numbers[:, evenly(count // heads, own_count // own_heads)].flatten()


def _passing(shape: tuple[int, ...]) -> Tensor:
    """(O, I, 1, ...) weights of a convolution that passes on the channels that both sides keep of the teacher's."""
    outputs, inputs = shape[:2]
    count = max(outputs, inputs)
    same = evenly(count, outputs)[:, None] == evenly(count, inputs)[None]
    return same.float().view(outputs, inputs, *(1,) * (len(shape) - 2))
