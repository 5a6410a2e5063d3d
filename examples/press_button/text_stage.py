"""The text encoder: in, all instructions; out, an encoder that tells them apart at every token.

It stands for CLIP, which comes trained to a video model and stays as it is. A random one would not do: of the 20
tokens that the video model attends to, one names the colour, and nothing would make the others repeat it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from loop import Schedule, train
from video_stage import Texts
from vpp_edge.model.text import TextStage


def train_text(text: TextStage, texts: Texts, schedule: Schedule, folder: Path, seed: int) -> None:
    """Trains the encoder in place until what it says of different instructions points in different directions."""
    generator = torch.Generator().manual_seed(seed)
    for module in text.encoder.modules():
        if isinstance(module, nn.Linear):  # CLIP's own are so small that no token would hear of another
            nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        return _likeness(texts.hidden(text).mean(dim=1)) + _likeness(texts.goals(text))

    train("text", {"text": text.encoder}, loss_of, schedule, folder, seed)
    text.encoder.requires_grad_(False)


def _likeness(vectors: Tensor) -> Tensor:
    """Mean cosine between different rows of (K, D)."""
    unit = functional.normalize(vectors, dim=-1)
    count = len(unit)
    return ((unit @ unit.T).sum() - count) / (count * (count - 1))
