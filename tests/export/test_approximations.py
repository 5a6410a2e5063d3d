"""Approximate bundles match the eager policy at the same settings and state the error against the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vpp_edge import EdgePolicy
from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.cli.main import main
from vpp_edge.export.approximations import measured_approximations, trained_policy
from vpp_edge.export.parity import references_from_policy
from vpp_edge.export.samples import random_samples
from vpp_edge.export.tokenizer import load_tokenizer
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.spec.policy import policy_spec_from_json


def test_the_manifest_states_settings_and_error(approximate_bundle: Path) -> None:
    manifest = Bundle(approximate_bundle).manifest
    spec, found = manifest.policy, manifest.certificate["approximations"]
    assert (len(spec.sigmas) - 1, spec.sampler, spec.frames, spec.computed_frames) == (4, "dpmpp_2m", 16, 8)
    assert found["options"] == {"steps": 4, "solver": "dpmpp_2m", "frames": 8}
    assert found["trained"] == {"steps": 3, "solver": "ddim", "frames": 16}
    for name in ("tokens", "actions"):
        assert 1e-4 < found[name]["rms_relative"] < 2


def test_the_bundle_is_the_eager_policy_at_the_same_settings(
    approximate_bundle: Path, small_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` compares it with backend torch, which takes the settings from the manifest."""
    assert main(["verify", str(approximate_bundle), str(small_checkpoint), "--samples", "1"]) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_a_prefix_is_kept_by_the_other_solver(approximate_bundle: Path) -> None:
    policy = EdgePolicy.load(approximate_bundle)
    policy.instruct("wave")
    spec, generator = policy.spec, np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32)

    assert spec.state is not None
    prefix, weight = normal(1, *spec.chunk_shape), np.zeros((1, spec.action.horizon), np.float32)
    weight[:, :2] = 1
    actions = policy.act(
        normal(1, *spec.tokens),
        normal(1, 1, spec.state.dims),
        action_noise=normal(1, *spec.chunk_shape),
        prefix=prefix,
        prefix_weight=weight,
    )
    np.testing.assert_allclose(actions[:, :2], prefix[:, :2], atol=1e-5)


def test_inspect_shows_settings_and_error(approximate_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(approximate_bundle)]) == 0
    out = capsys.readouterr().out
    assert "approximate: 4 instead of 3 steps, 8 instead of 16 frames, solver dpmpp_2m instead of ddim" in out
    assert "actions differ from the trained policy's by" in out
    assert "16 predicted frames, 8 of them computed" in out
    assert "4 dpmpp_2m steps" in out


def test_the_error_is_that_of_the_trained_policy(small_checkpoint: Path) -> None:
    """Measured on shared weights, against a policy that is read separately."""
    paths = paths_from_folder(small_checkpoint)
    checkpoint, trained = (read_checkpoint(paths, c) for c in (Choices(steps=2, frames=4), Choices()))
    policy, reference = policy_from_checkpoint(checkpoint), policy_from_checkpoint(trained)
    spec, tokenizer = checkpoint.spec, load_tokenizer(paths.text_encoder)
    samples = random_samples(spec, 1, 0)
    (found,) = references_from_policy(policy, spec, tokenizer, samples)
    (exact,) = references_from_policy(reference, spec, tokenizer, samples)
    measured = measured_approximations(checkpoint, policy, [found])
    assert measured is not None
    for name in ("tokens", "actions"):
        assert measured[name] == pytest.approx(compare(found.outputs[name], exact.outputs[name]).to_json(), rel=1e-3)
    shared = trained_policy(checkpoint, policy)
    assert (shared.video, shared.former, shared.head) == (policy.video, policy.former, policy.head)
    assert measured_approximations(trained, reference, [exact]) is None


@torch.no_grad()
def test_settings_that_are_the_trained_ones_are_no_approximation(small_checkpoint: Path) -> None:
    paths = paths_from_folder(small_checkpoint)
    chosen = read_checkpoint(paths, Choices(steps=3, solver="ddim", frames=16))
    assert chosen.spec == read_checkpoint(paths).spec
    assert chosen.spec.computed_frames is None


def test_a_manifest_from_before_these_settings_is_read(small_checkpoint: Path) -> None:
    spec = read_checkpoint(paths_from_folder(small_checkpoint)).spec
    before = spec.to_json()
    del before["computed_frames"], before["prefix_pulls"]
    assert policy_spec_from_json(before) == spec
