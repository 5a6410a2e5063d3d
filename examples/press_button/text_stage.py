"""Trains the text encoder to tell all instructions apart at every token.

It replaces CLIP, which is pretrained and frozen in a full-size policy. A random encoder would not do: of the 20
tokens that the video model attends to, only one names the colour, and the others would not carry it.
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
    """Trains the encoder in place so that the embeddings of different instructions point in different directions."""
    generator = torch.Generator().manual_seed(seed)
    for module in text.encoder.modules():
        if isinstance(module, nn.Linear):  # CLIP's own are so small that tokens would hardly influence each other
            nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        return _likeness(texts.hidden(text).mean(dim=1)) + _likeness(texts.goals(text))

    train("text", {"text": text.encoder}, loss_of, schedule, folder=folder, seed=seed)
    text.encoder.requires_grad_(False)


def _likeness(vectors: Tensor) -> Tensor:
    """Mean cosine similarity between different rows of (K, D)."""
    unit = functional.normalize(vectors, dim=-1)
    count = len(unit)
    return ((unit @ unit.T).sum() - count) / (count * (count - 1))
