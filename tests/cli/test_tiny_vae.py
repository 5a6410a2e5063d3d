"""A checkpoint with an AutoencoderTiny through the commands: float32, INT8, its cost, its engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpp_edge.cli.main import main
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES


@pytest.mark.slow
def test_it_becomes_bundles_like_any_other(
    tiny_vae_checkpoint: Path, robot_recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> str:
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    plain, low = tmp_path / "fp32", tmp_path / "int8"
    run("export", tiny_vae_checkpoint, "-o", plain)
    run("verify", plain)
    run("verify", plain, tiny_vae_checkpoint, "--samples", 1)
    run("export", plain, "-o", low, "--precision", "int8", "--calibration", robot_recordings, "--samples", 2,
        "--held-out-samples", 1, "--sensitivity-samples", 0, "--budget", 0.2)  # fmt: skip
    run("verify", low)
    predicted = json.loads(run("profile", low, "--roofline", "orin-agx-64gb", "--json"))
    (encoder,) = [part for part in predicted["parts"] if part["part"] == "VAE encoder"]
    assert encoder["int8_share"] > 0.9
    if LIBRARIES["tensorrt-rtx"].is_installed:
        run("build", low, "--backend", "tensorrt-rtx", "--sm", 86, "--stage", "perceive")
