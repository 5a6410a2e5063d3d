"""Images to latents by either VAE: what diffusers computes, and gradients for training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_modules import kl_vae, random, tiny_vae
from torch import Tensor

from vpp_edge.model.images import image_encoder

VAES = {"kl": kl_vae, "tiny": tiny_vae}


def diffusers_latents(vae: Any, frames: Tensor) -> Tensor:
    encoded = vae.encode(frames.permute(0, 3, 1, 2).float() / 127.5 - 1)
    latents: Tensor = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    return latents


@pytest.mark.parametrize("kind", VAES)
@torch.no_grad()
def test_latents_are_those_of_diffusers(kind: str) -> None:
    torch.manual_seed(0)
    vae = random(VAES[kind]())
    frames = torch.randint(0, 256, (3, 24, 40, 3), dtype=torch.uint8)
    found, expected = image_encoder(vae)(frames), diffusers_latents(vae, frames)
    assert found.shape == (3, 4, 12, 20)
    # Pixels are scaled in another order, which costs a rounding.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", VAES)
def test_gradients_reach_every_weight_that_latents_depend_on(kind: str) -> None:
    torch.manual_seed(0)
    encoder = image_encoder(VAES[kind]().train())
    encoder(torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8)).square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@torch.no_grad()
def test_checkpointed_gradients_do_not_change_a_tiny_encoder() -> None:
    """diffusers' own forward pass forgets to scale the pixels then."""
    torch.manual_seed(0)
    vae = random(tiny_vae())
    frames = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8)
    before = image_encoder(vae)(frames)
    vae.enable_gradient_checkpointing()
    with torch.enable_grad():
        torch.testing.assert_close(image_encoder(vae)(frames).detach(), before)
