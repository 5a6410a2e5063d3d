"""The encoder of an AutoencoderTiny as a graph: its operations, its parity, and what FP16 and INT8 make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx_graphs import ops_of, run
from small_modules import random, tiny_vae
from torch import Tensor, nn

from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.quantization import StageTable
from vpp_edge.bundle.tolerances import TOLERANCES
from vpp_edge.export.counting import graph_from_file
from vpp_edge.export.exact.image import exact_encoder
from vpp_edge.export.onnx_writer import write_onnx
from vpp_edge.export.precision.lower import stage_products, write_lowered
from vpp_edge.export.stages import Stage
from vpp_edge.model.images import image_encoder
from vpp_edge.profile.roofline.fusion import groups_from_graph
from vpp_edge.profile.roofline.layers import layer_names, part_of
from vpp_edge.spec.policy import TensorSpec

VIEWS, HEIGHT, WIDTH = 2, 24, 40
CHANNELS, LATENT = 16, 4  # of `tiny_vae`, whose sizes have one and two residual blocks
FRAMES = np.random.default_rng(0).integers(0, 256, (VIEWS, HEIGHT, WIDTH, 3), dtype=np.uint8)


class Perceive(nn.Module):
    """The encoder under the name that it has in `perceive`."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        latents: Tensor = self.encoder(frames)
        return latents


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Its graph, and the latents of the eager encoder."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = image_encoder(random(tiny_vae()))
        latents = encoder(torch.from_numpy(FRAMES)).numpy()
        stage = Stage(
            name="perceive",
            module=Perceive(exact_encoder(encoder)).eval(),
            inputs=(TensorSpec("frames", "uint8", FRAMES.shape),),
            outputs=(TensorSpec("latents", "float32", latents.shape),),
        )
        return write_onnx(stage, tmp_path_factory.mktemp("tiny"))[0], latents


def latents_of(graph: Path) -> np.ndarray:
    model = onnx.load(graph)
    return run(model, {"frames": FRAMES})["latents"]


def test_the_graph_computes_the_eager_latents(exported: tuple[Path, np.ndarray]) -> None:
    graph, expected = exported
    assert compare(latents_of(graph), expected).max_relative <= 1e-5


def test_its_operations_are_counted_as_the_image_encoder_s(exported: tuple[Path, np.ndarray]) -> None:
    graph = graph_from_file(exported[0])
    pixels, square = VIEWS * HEIGHT * WIDTH, 9 * CHANNELS * CHANNELS
    macs = pixels * (9 * 3 * CHANNELS + 3 * square) + pixels // 4 * (square + 2 * 3 * square + 9 * CHANNELS * LATENT)
    assert graph.matrix_operations() == 2 * macs
    assert graph.unknown == {}
    groups = groups_from_graph(graph)
    layers = layer_names(graph, groups)
    busy = {part_of("perceive", layer) for layer, g in zip(layers, groups, strict=True) if g.nodes[0].op == "Conv"}
    assert busy == {"VAE encoder"}


def test_all_but_its_first_and_last_convolution_can_run_in_int8(exported: tuple[Path, np.ndarray]) -> None:
    products = stage_products(exported[0])
    assert len(products) == 1 + 3 + 1 + 2 * 3 + 1
    assert [p.reason for p in products if p.reason] == ["first or last convolution"] * 2
    assert products[0].reason and products[-1].reason


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision_stays_close(exported: tuple[Path, np.ndarray], tmp_path: Path, precision: str) -> None:
    source, expected = exported
    table = StageTable("0", ranges_of(source)) if precision == "int8" else None
    low = write_lowered(source, tmp_path / "low.onnx", (), table)
    made = onnx.load(tmp_path / "low.onnx")
    onnx.checker.check_model(made, full_check=True)
    found = compare(run(made, {"frames": FRAMES})["latents"], expected)
    if precision == "fp16":
        assert low == 0 and found.max_relative <= TOLERANCES["fp16"]["tokens"].value
    else:
        assert low == sum(p.macs for p in stage_products(source) if not p.reason)
        assert ops_of(made).count("DequantizeLinear") > 10
        assert 1e-4 < found.rms_relative < 0.05  # rounded, and not wrong


def ranges_of(source: Path) -> dict[str, float]:
    """The largest magnitude of every activation that a product reads."""
    model = onnx.load(source)
    names = {name for product in stage_products(source) for name in product.activations}
    model.graph.output.extend(value for value in model.graph.value_info if value.name in names)
    found = run(model, {"frames": FRAMES})
    return {name: float(np.abs(found[name]).max()) for name in names if name in found}
