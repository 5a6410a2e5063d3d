"""Stage 2: trains Video Former and action head on features of the frozen video model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from loop import Schedule, train
from vpp_edge.checkpoint.config import SamplerConfig
from vpp_edge.model.former import VideoFormer, tokens_from_views
from vpp_edge.model.head import ActionHead
from vpp_edge.model.tvp import VideoPredictionModel
from vpp_edge.progress import Progress

BATCH = 32
DRAWS = 4  # noise samples per observation: the head is cheap compared with the Video Former
OBSERVATIONS = 16  # batch of the video model
STATE_NOISE = 0.05  # standard deviation, on the normalized state
STATELESS_SHARE = 0.3  # share of samples without state, so that the policy learns to use the images
SHARPER = 2.2  # factor on PyTorch's initial weights of queries and keys
WHITENED = 300  # observations from which the distribution of the features is estimated
SPREAD = 0.5  # spread of log(sigma) around log(sigma_data), as in MDT


@dataclass(frozen=True)
class Samples:
    """Training data of the policy, one row per observation.

    Attributes:
        features: (N, F, V * h' * w', C) float16, from the video model.
        goals: (N, G); states: (N, P) normalized; actions: (N, T, A) normalized.
    """

    features: Tensor
    goals: Tensor
    states: Tensor
    actions: Tensor


@torch.no_grad()
def features_of(video: VideoPredictionModel, latents: Tensor, hidden: Tensor, seed: int) -> Tensor:
    """(N, F, V * h' * w', C) float16 single-step features of observations, each with its own noise.

    Args:
        latents: (N, V, 4, h, w) of the observed frames; hidden: (N, 20, 2 * width) of the instructions.
    """
    random, found, views = torch.Generator().manual_seed(seed), [], latents.shape[1]
    with Progress("features", [("features", 1.0)]) as progress:
        progress.step("features")
        for i in range(0, len(latents), OBSERVATIONS):
            images = latents[i : i + OBSERVATIONS].float().flatten(0, 1)[:, None].expand(-1, video.frames, -1, -1, -1)
            noise = torch.randn(images.shape, generator=random) * (video.init_noise_sigma * video.input_scale)
            text = hidden[i : i + OBSERVATIONS].repeat_interleave(views, dim=0)
            features = video.features(torch.cat([noise, images], dim=2), text).unflatten(0, (-1, views))
            found.append(torch.stack([tokens_from_views(one) for one in features]).half())
            progress.update(i / len(latents))
    return torch.cat(found)


def train_policy(
    former: VideoFormer,
    head: ActionHead,
    samples: Samples,
    sampler: SamplerConfig,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> None:
    """Trains `former` and `head` in place, as a denoiser of action chunks (EDM, arXiv 2206.00364)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _begin(former, head, samples)

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        chosen = torch.from_numpy(random.integers(len(samples.actions), size=BATCH))
        tokens = former(samples.features[chosen].float())
        states = samples.states[chosen] + STATE_NOISE * _normal(random, (BATCH, samples.states.shape[1]))
        states[torch.from_numpy(random.random(BATCH) < STATELESS_SHARE)] = 0
        context = head.encode(tokens, samples.goals[chosen], states[:, None]).repeat_interleave(DRAWS, dim=0)
        clean = samples.actions[chosen].repeat_interleave(DRAWS, dim=0)
        sigma = _levels(random, head.sigma_data, sampler)
        noisy = clean + sigma * _normal(random, clean.shape)
        variance, data = sigma**2 + head.sigma_data**2, head.sigma_data
        output = head.action_pred(
            head.decoder(head.action_emb(noisy / variance.sqrt()), head.embed_noise(sigma.flatten()), context)
        )
        wanted = (clean - noisy * data**2 / variance) * variance.sqrt() / (sigma * data)
        return (output - wanted).square().mean()

    train("policy", {"former": former, "head": head}, loss_of, schedule, folder=folder, seed=seed)


def _levels(random: np.random.Generator, data: float, sampler: SamplerConfig) -> Tensor:
    """(B * DRAWS, 1, 1) noise levels: half as in MDT, half between `data` (sigma_data) and the start of sampling.

    At high noise, only images and instruction determine the actions: that is where language is learned.
    """
    count = BATCH * DRAWS
    around = random.logistic(np.log(data), SPREAD, count)
    above = random.uniform(np.log(data), np.log(sampler.sigma_max), count)
    levels = np.where(random.random(count) < 0.5, around, above)
    levels = np.clip(levels, np.log(sampler.sigma_min), np.log(sampler.sigma_max))
    return torch.from_numpy(np.exp(levels).astype(np.float32))[:, None, None]


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(random.standard_normal(tuple(shape), dtype=np.float32))


def _begin(former: VideoFormer, head: ActionHead, samples: Samples) -> None:
    """Initializes the weights so that all inputs have unit scale and attention is selective from the start.

    With PyTorch's defaults, colours vanish in what all features have in common, the four instructions are almost
    identical, and attention averages: the policy then learns to reach, but hardly which button is meant.
    """
    for module in (former, head):
        for name, part in module.named_modules():
            if isinstance(part, nn.Linear | nn.LayerNorm):
                part.reset_parameters()
            if name.endswith("modulation.1"):  # identity: shift 0, scale and gate 1
                nn.init.normal_(part.weight, std=0.02)
                shift, scale, gate = torch.zeros, torch.ones, torch.ones
                width = part.out_features // 6
                part.bias.data = torch.cat([make(width) for make in (shift, scale, gate) * 2])
            if name.endswith((".to_q", ".to_k", ".query", ".key")):
                part.weight.data *= SHARPER
    nn.init.normal_(former.latents, std=0.5)
    nn.init.normal_(former.time_pos_emb, std=0.02)
    some = samples.features[:: max(1, len(samples.features) // WHITENED)]
    _begin_embedding(former.goal_emb, some.flatten(0, -2).float())
    _begin_embedding(head.lang_emb, samples.goals.unique(dim=0))


def _begin_embedding(layers: nn.Sequential, vectors: Tensor) -> None:
    """Random weights for Linear, GELU, Linear that whiten vectors like these, (n, C)."""
    first, last = layers[0], layers[2]
    values, directions = torch.linalg.eigh(torch.cov(vectors.T))
    scales = values.clamp(min=0).add(1e-4 * values.max()).rsqrt()
    if len(vectors) <= vectors.shape[1]:  # too few to estimate all directions
        scales = torch.full_like(values, vectors.shape[1] / values.sum()).sqrt()
    whiten = directions * scales @ directions.T
    first.weight.data = torch.randn_like(first.weight) / first.in_features**0.5 @ whiten
    first.bias.data = -first.weight.data @ vectors.mean(dim=0)
    nn.init.normal_(last.weight, std=1.7 / last.in_features**0.5)
    nn.init.zeros_(last.bias)
