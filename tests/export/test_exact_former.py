"""The lean Video Former survives the exporter's rewriting, also when some of its sizes are equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from vpp_edge.checkpoint.config import FormerConfig
from vpp_edge.export.exact.former import exact_former, reader_of
from vpp_edge.export.onnx_writer import write_onnx
from vpp_edge.export.stages import Stage
from vpp_edge.model.former import VideoFormer
from vpp_edge.spec.policy import TensorSpec

VIEWS, PIXELS, CHANNELS, HIDDEN, WIDTH = 2, 3, 6, 16, 16


@pytest.mark.parametrize(("frames", "queries", "heads"), [(8, 4, 8), (8, 8, 8), (4, 8, 8), (2, 3, 2)])
def test_onnx_runtime_gives_what_the_eager_former_gives(tmp_path: Path, frames: int, queries: int, heads: int) -> None:
    torch.manual_seed(0)
    config = FormerConfig(
        kind="3d",
        channels=CHANNELS,
        width=WIDTH,
        frames=frames,
        time_embeddings=frames,
        queries_per_frame=queries,
        depth=2,
        heads=heads,
        head_width=WIDTH // heads,
        hidden=HIDDEN,
        feed_forward=32,
    )
    former = VideoFormer(config).eval()
    for parameter in former.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    features = torch.randn(frames, VIEWS * PIXELS, CHANNELS)
    with torch.no_grad():
        expected = former(features[None])[0].numpy()
        read = reader_of(former)(features).unflatten(1, (VIEWS, 1, 1, PIXELS)).transpose(0, 1).contiguous()
    inputs = (TensorSpec("read", "float32", tuple(read.shape)),)
    outputs = (TensorSpec("tokens", "float32", expected.shape),)
    path, _ = write_onnx(Stage("former", exact_former(former), inputs, outputs), tmp_path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"read": read.numpy()})
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
