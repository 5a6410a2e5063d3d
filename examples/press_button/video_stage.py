"""Stage 1, video prediction: trains the UNet to predict the task from latents and instructions.

Training follows the video model that VPP builds on: EDM's denoising with SVD's v-prediction (arXiv 2311.15127,
appendix D), conditioned on the first frame (concatenated) and on the instruction (cross-attention).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from torch import Tensor

from loop import Schedule, quick_products, train
from vpp_edge.checkpoint.config import FPS, MOTION_BUCKET, NOISE_AUGMENTATION
from vpp_edge.model.text import TextStage

BATCH = 16
STILL = 6  # frames at the end of a demonstration in which the button is held
FIRST_SIGMA_SHARE = 0.8  # share of samples at the policy's noise level; the others teach sampling whole videos
LOG_SIGMA_MEAN, LOG_SIGMA_STD = 0.7, 1.6  # SVD's


@dataclass(frozen=True)
class Texts:
    """Token ids and masks of K instructions: (K, 20) int64 each for the video model, (K, 77) for the goal."""

    ids: Tensor
    mask: Tensor
    goal_ids: Tensor
    goal_mask: Tensor

    def hidden(self, text: TextStage) -> Tensor:
        """(K, 20, 2 * width), what the video model attends to."""
        return text.condition(self.ids, self.mask)

    def goals(self, text: TextStage) -> Tensor:
        """(K, G), the goal of the action head."""
        return text(self.ids, self.mask, self.goal_ids, self.goal_mask)[1]


@dataclass(frozen=True)
class Clips:
    """Clips that can be drawn from the demonstrations.

    Attributes:
        latents: (N, V, 4, h, w) of all frames.
        last: (N,) index of the last frame of each frame's demonstration.
        texts: (N,) index of each frame's instruction.
        stride: demonstration frames per predicted frame.
    """

    latents: Tensor
    last: np.ndarray
    texts: np.ndarray
    stride: int

    def moving(self) -> np.ndarray:
        """Indices of all frames except the last ones of each demonstration, in which the hand rests."""
        return np.flatnonzero(self.last - np.arange(len(self.last)) >= STILL)

    def futures(self, first: np.ndarray, views: np.ndarray, frames: int) -> Tensor:
        """(B, F, 4, h, w) float32: frame `first` (B,) and what follows; after the end, the last frame repeats."""
        numbers = np.minimum(first[:, None] + self.stride * np.arange(frames), self.last[first][:, None])
        return self.latents[numbers, views[:, None]].float()


def train_video(
    unet: UNetSpatioTemporalConditionModel,
    clips: Clips,
    hidden: Tensor,
    scale: float,
    first_sigma: float,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> None:
    """Trains `unet` in place.

    Args:
        hidden: (K, 20, 2 * width) of all instructions.
        scale: the VAE's scaling factor.
        first_sigma: noise level of the scheduler's first step, the only one in the policy.
    """
    frames = unet.config.num_frames
    begins = clips.moving()
    time_ids = torch.tensor([[FPS, MOTION_BUCKET, NOISE_AUGMENTATION]], dtype=torch.float32).expand(BATCH, -1)

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        first = begins[random.integers(len(begins), size=BATCH)]
        latents = clips.futures(first, random.integers(clips.latents.shape[1], size=BATCH), frames)
        drawn = np.exp(random.normal(LOG_SIGMA_MEAN, LOG_SIGMA_STD, BATCH))
        drawn[random.random(BATCH) < FIRST_SIGMA_SHARE] = first_sigma
        sigma = torch.from_numpy(drawn.astype(np.float32))[:, None, None, None, None]
        noise = torch.from_numpy(random.standard_normal(latents.shape, dtype=np.float32))
        clean, root = latents * scale, (sigma**2 + 1).sqrt()
        noisy = clean + sigma * noise
        sample = torch.cat([noisy / root, latents[:, :1].expand_as(latents)], dim=2)
        text = hidden[torch.from_numpy(clips.texts[first])]
        with quick_products(frames):
            velocity = unet(sample, 0.25 * sigma.flatten().log(), text, time_ids).sample
        wanted = (noisy / root**2 - clean) * root / sigma
        return (velocity.float() - wanted).square().mean()

    train("video", {"unet": unet}, loss_of, schedule, folder=folder, seed=seed)


@torch.no_grad()
def save_prediction(
    unet: UNetSpatioTemporalConditionModel,
    vae: AutoencoderKLTemporalDecoder,
    scheduler: EulerDiscreteScheduler,
    hidden: Tensor,
    real: Tensor,
    file: Path,
    steps: int = 20,
) -> None:
    """Saves an image of real futures above predicted ones, one pair of rows per clip.

    Args:
        hidden: (B, 20, 2 * width) of the instructions; real: (B, F, 4, h, w) latents of the real futures.
    """
    from PIL import Image

    scale = vae.config.scaling_factor
    scheduler.set_timesteps(steps)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    video = noise * scheduler.init_noise_sigma
    time_ids = torch.tensor([[FPS, MOTION_BUCKET, NOISE_AUGMENTATION]], dtype=torch.float32).expand(len(real), -1)
    first = real[:, :1].expand_as(real)
    for time in scheduler.timesteps:
        sample = torch.cat([scheduler.scale_model_input(video, time), first], dim=2)
        video = scheduler.step(unet(sample, time, hidden, time_ids).sample, time, video).prev_sample
    rows = []
    for latents in (clip for pair in zip(real, video / scale, strict=True) for clip in pair):
        images = vae.decode(latents, num_frames=1).sample.clamp(-1, 1)
        rows.append(torch.cat(list(images), dim=-1))
    picture = ((torch.cat(rows, dim=-2).permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8)
    Image.fromarray(picture.numpy()).save(file)
