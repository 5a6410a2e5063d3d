"""Exported bundles against the reference implementation, through the interface that a robot uses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from material import CACHE, ROOT, Golden

from vpp_edge import EdgePolicy
from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.tolerances import TOLERANCES as ALL_TOLERANCES
from vpp_edge.bundle.tolerances import Limit

TOLERANCES_FP32 = ALL_TOLERANCES["fp32"]
TOLERANCES = {"text_hidden": 1e-5, "text_embed": 1e-5, "tokens": 1e-4, "actions": 1e-4}


def outputs(policy: EdgePolicy, golden: Golden, case: str) -> dict[str, np.ndarray]:
    policy.instruct(golden.instruction(case))
    out = policy.infer(
        golden.arrays[f"{case}/frames"],
        golden.array(case, "proprio"),
        video_noise=golden.arrays[f"{case}/video_noise"],
        action_noise=golden.arrays[f"{case}/action_noise"],
    )
    return dict(zip(TOLERANCES, (*policy.text, out.tokens, out.actions), strict=True))


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_a_bundle_gives_the_golden_outputs(golden: Golden, golden_bundle: Path, backend: str) -> None:
    checkpoint = golden.checkpoint if backend == "torch" else None
    policy = EdgePolicy.load(golden_bundle, backend, checkpoint=checkpoint)
    for case in golden.cases:
        for name, found in outputs(policy, golden, case).items():
            errors = compare(found, golden.arrays[f"{case}/{name}"])
            assert Limit("max_relative", TOLERANCES[name]).allows(errors), (
                f"case {case}, {name} {found.shape}: {errors}"
            )


def test_a_prefix_pulls_as_much_as_its_weight(golden: Golden, golden_bundle: Path) -> None:
    policy = EdgePolicy.load(golden_bundle)
    policy.instruct(golden.instruction("0"))
    tokens, noise = golden.arrays["0/tokens"], golden.arrays["0/action_noise"]
    prefix = np.random.default_rng(0).uniform(-1, 1, noise.shape).astype(np.float32)

    def act(weight: np.ndarray) -> np.ndarray:
        return policy.act(
            tokens, golden.array("0", "proprio"), action_noise=noise, prefix=prefix, prefix_weight=weight[None]
        )

    horizon = noise.shape[1]
    free = act(np.zeros(horizon, np.float32))
    assert Limit("max_relative", 1e-4).allows(compare(free, golden.arrays["0/actions"]))
    np.testing.assert_allclose(act(np.ones(horizon, np.float32)), prefix, atol=1e-5)
    # The first three actions are already being executed: they stay, and the others continue from them.
    weight = np.zeros(horizon, np.float32)
    weight[:3] = 1
    held = act(weight)
    np.testing.assert_allclose(held[:, :3], prefix[:, :3], atol=1e-5)
    assert np.abs(held[:, 3:] - free[:, 3:]).max() > 1e-3
    assert np.abs(held[:, 3:] - prefix[:, 3:]).max() > 1e-2


def test_the_manifest_certifies_the_parity(small_bundle: Path) -> None:
    certificate = certificate_from_json(Bundle(small_bundle).manifest.certificate)
    for errors in (certificate.stages, certificate.end_to_end):
        assert set(errors) == {"text_hidden", "goal", "tokens", "actions"}
        for name, found in errors.items():
            assert found.finite and 0 <= found.max_relative <= TOLERANCES_FP32[name].value
    assert certificate.limits == TOLERANCES_FP32 and certificate.problems() == []
    assert certificate.samples >= 1 and [s.unit for s in certificate.physical] == ["mm", "deg", "rad"]


def test_every_file_is_in_the_manifest(small_bundle: Path) -> None:
    manifest = json.loads((small_bundle / "manifest.json").read_text())
    found = {p.relative_to(small_bundle).as_posix() for p in small_bundle.rglob("*") if p.is_file()}
    stages = {f"onnx/{s}.onnx{e}" for s in ("text", "perceive", "act") for e in ("", ".data")}
    assert (
        found
        == set(manifest["files"]) | {"manifest.json"}
        == stages | {"tokenizer.json", "parity.npz", "work.json", "manifest.json"}
    )


def test_graphs_hold_no_paths_of_the_exporting_machine(small_bundle: Path) -> None:
    machine = {str(ROOT), str(CACHE), sys.prefix, sys.base_prefix, str(Path.home()), "site-packages", ".py"}
    for graph in (small_bundle / "onnx").glob("*.onnx"):
        content = graph.read_bytes()
        assert not [word for word in machine if len(word) > 2 and word.encode() in content], graph.name


def test_act_alone_is_perceive_and_act(small_bundle: Path) -> None:
    policy = EdgePolicy.load(small_bundle, seed=0)
    policy.instruct("stack the blocks")
    frames = np.zeros(policy.spec.frames_shape, np.uint8)
    proprio = np.zeros(19, np.float32)
    noise = np.ones((1, *policy.spec.chunk_shape), np.float32)
    out = policy.infer(frames, proprio, action_noise=noise)
    np.testing.assert_array_equal(policy.act(out.tokens, proprio, action_noise=noise), out.actions)
    assert set(out.timings_ns) == {"perceive", "act"}
