"""Layers with less work against the eager layers they are made from: random weights, odd sizes, operations counted.

Tolerance: both sides are float32 sums of up to a few thousand terms in another order, 1e-6 of the largest result for
each of the two, and values that were folded carry one more rounding: 1e-5 of the largest result.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as functional
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D, SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from small_modules import tiny_vae
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vpp_edge.export.exact.attention import GatedFeedForward, SelfAttention, TextAttention
from vpp_edge.export.exact.convolutions import DoubledConv, SharedImageConv, frame_conv
from vpp_edge.export.exact.folding import grouped, linear_after_norm, standardized
from vpp_edge.export.exact.image import PixelAttention, exact_encoder, mean_conv
from vpp_edge.export.exact.resnet import ImageResnet, VideoResnet, spatial_share
from vpp_edge.export.exact.transformer import VideoTransformer
from vpp_edge.model.images import image_encoder

SIZES = [(2, 3, 5, 7), (1, 1, 2, 1), (1, 4, 8, 3)]  # views, frames, height, width


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    yield
    torch.set_grad_enabled(True)


def random(module: nn.Module) -> nn.Module:
    """Norms and biases too: freshly made ones are 1 and 0, which hides what was not folded."""
    for name, parameter in module.named_parameters():
        parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return module.eval()


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    worst = float((found - expected).abs().max() / expected.abs().max())
    assert worst <= 1e-5, f"{tuple(found.shape)}: {worst:.1e} of the largest value"


def operations(module: object, *inputs: object) -> int:
    with FlopCounterMode(display=False) as counter:
        module(*inputs)  # type: ignore[operator]
    return counter.get_total_flops()


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 8), (2, 17)])
def test_a_doubled_convolution_costs_four_ninths(size: tuple[int, int]) -> None:
    conv, x = random(nn.Conv2d(6, 9, 3, padding=1)), torch.randn(2, 6, *size)
    lean = DoubledConv(conv.weight, conv.bias)

    def eager(x: Tensor) -> Tensor:
        return conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))

    assert_equal(lean(x), eager(x))
    assert operations(lean, x) * 9 == operations(eager, x) * 4


@pytest.mark.parametrize("frames", [1, 2, 16])
def test_a_convolution_over_frames_is_one_of_an_image(frames: int) -> None:
    conv, shift = random(nn.Conv3d(6, 9, (3, 1, 1), padding=(1, 0, 0))), torch.randn(9)
    x = torch.randn(2, 6, frames, 5, 3)
    expected = 0.3 * (conv(x) + shift[:, None, None, None])
    assert_equal(frame_conv(conv, 0.3, shift)(x.flatten(3)), expected.flatten(3))


def test_the_image_is_convolved_once_for_all_frames() -> None:
    conv = random(nn.Conv2d(8, 6, 3, padding=1))
    noise, latents = torch.randn(2, 16, 4, 5, 7), torch.randn(2, 4, 5, 7)
    lean = SharedImageConv(conv, 0.7)

    def eager(noise: Tensor, latents: Tensor) -> Tensor:
        return conv(torch.cat([noise * 0.7, latents[:, None].expand_as(noise)], dim=2).flatten(0, 1))

    assert_equal(lean(noise, latents), eager(noise, latents))
    assert operations(lean, noise, latents) * 32 == operations(eager, noise, latents) * 17


@pytest.mark.parametrize("norm", [nn.LayerNorm(12), nn.LayerNorm(12, bias=False)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_norm_goes_into_the_linear_behind_it(norm: nn.LayerNorm, bias: bool) -> None:
    linear, x = random(nn.Linear(12, 7, bias=bias)), torch.randn(5, 12)
    random(norm)
    assert_equal(linear_after_norm(linear, norm)(standardized(x, norm)), linear(norm(x)))


def test_a_group_norm_goes_into_the_linear_behind_it() -> None:
    linear, norm, x = random(nn.Linear(12, 7)), random(nn.GroupNorm(4, 12)), torch.randn(3, 12, 5)
    assert_equal(linear_after_norm(linear, norm)(grouped(x, norm).mT), linear(norm(x).mT))


@pytest.mark.parametrize("channels", [32, 64])
def test_an_image_block_has_its_time_embedding_in_a_bias(channels: int) -> None:
    block = random(ResnetBlock2D(in_channels=32, out_channels=channels, temb_channels=24))
    x, embedding = torch.randn(2, 32, 5, 7), torch.randn(1, 24)
    assert_equal(ImageResnet(block, embedding)(x), block(x, embedding.expand(2, -1)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("switched", [False, True])
def test_a_video_block_has_the_blend_in_its_last_weights(size: tuple[int, ...], switched: bool) -> None:
    views, frames, *image = size
    block = SpatioTemporalResBlock(32, 64, temb_channels=24, switch_spatial_to_temporal_mix=switched)
    random(block)
    x, embedding = torch.randn(views * frames, 32, *image), torch.randn(1, 24)
    found = VideoResnet(block, embedding, frames)(x)
    assert_equal(found, block(x, embedding.expand(views * frames, -1), torch.zeros(views, frames)))


def test_every_kind_of_blend_is_known() -> None:
    block = SpatioTemporalResBlock(32, temb_channels=None, merge_strategy="fixed", merge_factor=0.2)
    assert spatial_share(block.time_mixer) == pytest.approx(0.2)


@pytest.mark.parametrize("over_frames", [False, True])
def test_self_attention_along_either_axis_of_the_grid(over_frames: bool) -> None:
    attention = random(Attention(24, heads=3, dim_head=8))
    grid = (2, 3, 5)
    x = torch.randn(*grid, 24)
    rows = x.transpose(1, 2).flatten(0, 1) if over_frames else x.flatten(0, 1)
    expected = attention(rows)
    if over_frames:
        expected = expected.unflatten(0, (2, 5)).transpose(1, 2)
    lean = SelfAttention(attention, over_frames)
    assert_equal(lean(x.reshape(-1, 24), grid), expected.reshape(-1, 24))


@pytest.mark.parametrize("tokens", [1, 7, 4096])
def test_attention_to_the_text_costs_less_than_its_queries(tokens: int) -> None:
    attention = random(Attention(128, cross_attention_dim=48, heads=2, dim_head=64))
    x, text = torch.randn(tokens, 128), torch.randn(1, 20, 48)
    lean = TextAttention(attention)
    assert_equal(lean(x, text), attention(x[None], encoder_hidden_states=text)[0])
    if tokens == 4096:
        assert operations(lean, x, text) * 2 < operations(lambda: attention(x[None], encoder_hidden_states=text))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_gate_of_a_feed_forward_is_a_separate_product(scale: float) -> None:
    block, x = random(BasicTransformerBlock(24, 3, 8, activation_fn="geglu")), torch.randn(7, 24)
    assert_equal(GatedFeedForward(block.norm3, block.ff, scale)(x), scale * block.ff(block.norm3(x)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_transformer_reads_the_text_once(size: tuple[int, ...], layers: int) -> None:
    views, frames, *image = size
    model = random(TransformerSpatioTemporalModel(2, 32, in_channels=64, num_layers=layers, cross_attention_dim=48))
    # Two layers deep: in float32 a processor without AVX-512 is at the tolerance already.
    model.double()
    x, text = torch.randn(views * frames, 64, *image).double(), torch.randn(1, 20, 48).double()

    def eager(x: Tensor, text: Tensor) -> Tensor:
        return model(x, text.expand(views * frames, -1, -1), torch.zeros(views, frames), return_dict=False)[0]

    lean = VideoTransformer(model, frames)
    assert_equal(lean(x, text), eager(x, text))
    if views * frames > 1:
        assert operations(lean, x, text) < operations(eager, x, text)


def test_the_vae_attends_with_one_product_for_queries_keys_and_values() -> None:
    attention = Attention(
        64, heads=1, dim_head=64, eps=1e-6, norm_num_groups=32, residual_connection=True, bias=True,
        upcast_softmax=True, _from_deprecated_attn_block=True,
    )  # fmt: skip
    x = torch.randn(2, 64, 5, 3)
    random(attention)
    assert_equal(PixelAttention(attention)(x), attention(x))


@pytest.mark.parametrize("quantized", [True, False])
def test_the_variance_of_the_latents_is_not_computed(quantized: bool) -> None:
    conv, mix = random(nn.Conv2d(6, 8, 3, padding=1)), random(nn.Conv2d(8, 8, 1)) if quantized else None
    x = torch.randn(2, 6, 5, 7)
    expected = (mix(conv(x)) if mix is not None else conv(x))[:, :4]
    lean = mean_conv(conv, mix)
    assert_equal(lean(x), expected)
    assert operations(lean, x) * 2 == operations(conv, x)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("size", [(24, 40), (1, 7), (6, 2)])
def test_a_tiny_encoder_has_the_scale_of_pixels_in_its_first_convolution(
    size: tuple[int, int], activation: str
) -> None:
    vae = tiny_vae(activation)
    encoder = image_encoder(random(vae))
    before = {name: parameter.clone() for name, parameter in vae.named_parameters()}
    frames = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
    assert_equal(exact_encoder(encoder)(frames), encoder(frames))
    assert all(torch.equal(parameter, before[name]) for name, parameter in vae.named_parameters())
