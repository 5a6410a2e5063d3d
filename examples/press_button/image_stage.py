"""Stage 0: trains the video model's VAE on frames of demonstrations, and encodes every frame into its latent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor

from demonstrations import Demonstration
from loop import Schedule, quick_products, train
from vpp_edge.progress import Progress

PICTURES = 6000  # training images
CROP, CROPS = 64, 16  # most steps train on crops, four times as many per batch as whole images
WHOLES = 4
WHOLE_SHARE = 0.8  # share of steps on crops; the rest use whole images, as norms and attention see them on the robot
# The few pixels whose channels (-1 to 1) differ by more than COLOURED get a higher weight: buttons and fingertips.
COLOURED, COLOURED_WEIGHT = 0.5, 6
PRIOR = 1e-4  # weight of the KL divergence: enough to keep latents near unit size


def train_images(
    vae: AutoencoderKLTemporalDecoder,
    shown: list[Demonstration],
    size: int,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> None:
    """Trains `vae` in place on single frames, and sets its scaling factor from its latents."""
    pictures = _pictures(shown, size, seed)

    def loss_of(random: np.random.Generator, step: int) -> Tensor:
        cropped = step < WHOLE_SHARE * schedule.steps
        batch = pictures[random.integers(len(pictures), size=CROPS if cropped else WHOLES)].float() / 127.5 - 1
        if cropped:
            top, left = random.integers(size - CROP + 1, size=2)
            batch = batch[..., top : top + CROP, left : left + CROP]
        posterior = vae.encode(batch.contiguous()).latent_dist
        drawn = torch.from_numpy(random.standard_normal(posterior.mean.shape, dtype=np.float32))
        again = vae.decode(posterior.mean + posterior.std * drawn, num_frames=1).sample
        coloured = batch.amax(1, keepdim=True) - batch.amin(1, keepdim=True) > COLOURED
        error, weight = again - batch, 1 + COLOURED_WEIGHT * coloured
        prior = posterior.kl().mean() / posterior.mean[0].numel()
        return (weight * (error.abs() + 4 * error.square())).mean() + PRIOR * prior

    train("images", {"vae": vae}, loss_of, schedule, folder=folder, seed=seed)
    with torch.no_grad():
        latents = vae.encode(pictures[:256].float() / 127.5 - 1).latent_dist.mode()
    vae.register_to_config(scaling_factor=round(float(1 / latents.std()), 4))


def _pictures(shown: list[Demonstration], size: int, seed: int) -> Tensor:
    """(PICTURES, 3, size, size) uint8, drawn from as few videos as necessary."""
    random, found, missing = np.random.default_rng((seed, 10)), [], PICTURES
    for number in random.permutation(len(shown)):
        for view in range(len(shown[number].videos)):
            frames = shown[number].frames(view, size)
            chosen = frames[random.permutation(len(frames))[: min(len(frames) // 2, missing)]]
            found.append(((chosen + 1) * 127.5).round().to(torch.uint8))
            missing -= len(chosen)
        if missing <= 0:
            break
    return torch.cat(found)


def latents_of(vae: AutoencoderKLTemporalDecoder, shown: list[Demonstration], size: int) -> Tensor:
    """(N, V, 4, h, w) float16 posterior modes of all frames of all demonstrations, in order."""
    parts = []
    # The error of bfloat16 is smaller than the noise in an image.
    with Progress("latents", [("latents", 1.0)]) as progress, torch.no_grad(), quick_products():
        progress.step("latents")
        for number, one in enumerate(shown):
            frames = [one.frames(view, size).to(memory_format=torch.channels_last) for view in range(len(one.videos))]
            views = [vae.encode(images).latent_dist.mode() for images in frames]
            parts.append(torch.stack(views, dim=1).half())
            progress.update((number + 1) / len(shown))
    return torch.cat(parts)


def save_reconstructions(vae: AutoencoderKLTemporalDecoder, one: Demonstration, size: int, file: Path) -> float:
    """Saves an image of some frames above their VAE reconstructions; returns the mean PSNR in dB."""
    from PIL import Image

    frames = torch.cat([one.frames(view, size)[:: max(1, len(one.states) // 4)][:4] for view in range(2)])
    with torch.no_grad():
        again = vae.decode(vae.encode(frames).latent_dist.mode(), num_frames=1).sample.clamp(-1, 1)
    rows = torch.cat([torch.cat(list(frames), dim=-1), torch.cat(list(again), dim=-1)], dim=-2)
    Image.fromarray(((rows.permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()).save(file)
    return float(-10 * torch.log10(functional.mse_loss(again, frames) / 4))
