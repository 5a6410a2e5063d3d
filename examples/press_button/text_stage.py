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
    """Trains the encoder in place so that the embeddings of different instructions point in different directions.

    Each from each: the mean of their likenesses is least, too, when one half of them points opposite to the other.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in text.encoder.modules():
        if isinstance(module, nn.Linear):  # CLIP's own are so small that tokens would hardly influence each other
            nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        return _nearness(texts.hidden(text).mean(dim=1)) + _nearness(texts.goals(text))

    train("text", {"text": text.encoder}, loss_of, schedule, folder=folder, seed=seed)
    text.encoder.requires_grad_(False)


def _nearness(vectors: Tensor) -> Tensor:
    """How near the directions of different rows of (K, D) are: the uniformity loss of arXiv 2005.10242, t = 2."""
    unit = functional.normalize(vectors, dim=-1)
    return (-2 * functional.pdist(unit).square()).exp().mean().log()
