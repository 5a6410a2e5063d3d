"""The FP16 stages against the reference implementation and the eager model: on references, on kernels, on a GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interpreted_stages import errors_of_interpreted_stages
from material import Golden

from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.tolerances import TOLERANCES
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.export.torch_cuda.backend import usable_gpu
from vpp_edge.export.torch_cuda.cuda_graph import CudaGraphStage, EagerStage
from vpp_edge.export.torch_cuda.fp16 import fp16_stages
from vpp_edge.export.torch_cuda.operations import kernel_operations, reference_operations
from vpp_edge.kernels.catalogue import OPERATIONS
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.runtime.policy.edge_policy import EdgePolicy

CPU = torch.device("cpu")

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def why_no_gpu() -> str | None:
    try:
        usable_gpu()
    except BadInputError as error:
        return str(error)
    return None


needs_gpu = pytest.mark.skipif(why_no_gpu() is not None, reason=str(why_no_gpu()))


def inputs_of(golden: Golden, stage: str) -> dict[str, np.ndarray]:
    """The inputs of the reference implementation's first case."""
    if stage == "perceive":
        return {name: golden.arrays[f"0/{name}"] for name in ("frames", "text_hidden", "video_noise")}
    noise = golden.arrays["0/action_noise"]
    proprio = golden.array("0", "proprio")
    return {
        "tokens": golden.arrays["0/tokens"],
        "goal": golden.arrays["0/text_embed"],
        **({} if proprio is None else {"proprio": proprio}),
        "action_noise": noise,
        "prefix": np.zeros_like(noise),
        "prefix_weight": np.zeros(noise.shape[:2], np.float32),
    }


def assert_within_fp16(found: np.ndarray, golden: Golden, name: str) -> None:
    errors, limit = compare(found, golden.arrays[f"0/{name}"]), TOLERANCES["fp16"][name]
    assert limit.allows(errors), f"{golden.name} {name}: {errors}, allowed: {limit}"


@pytest.mark.parametrize(
    ("stage", "result"), [pytest.param("perceive", "tokens", marks=pytest.mark.full_size), ("act", "actions")]
)
def test_stages_are_the_reference_implementation_to_within_fp16(golden: Golden, stage: str, result: str) -> None:
    """`perceive` in FP16 takes half a minute on a CPU, so it is marked `full_size`."""
    checkpoint = read_checkpoint(paths_from_folder(golden.checkpoint))
    stages = fp16_stages(policy_from_checkpoint(checkpoint), checkpoint.spec, reference_operations())
    engine = EagerStage(stages.modules[stage], stages.signatures[stage], CPU)
    assert_within_fp16(engine.run(inputs_of(golden, stage))[result], golden, result)


@needs_triton
@pytest.mark.slow
def test_the_stages_run_on_interpreted_kernels(tmp_path: Path) -> None:
    result = errors_of_interpreted_stages(tmp_path / "checkpoint")
    for name, error in result["max_relative"].items():
        limit = TOLERANCES["fp16"][name].value
        assert error <= limit, f"{name}: {error:.1e} of the largest, allowed {limit:.1e}"
    assert [name for name in OPERATIONS if not result["calls"][name]] == []


def test_the_text_is_cached_again_only_when_it_changes(small_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(paths_from_folder(small_checkpoint))
    policy = policy_from_checkpoint(checkpoint)
    stages = fp16_stages(policy, checkpoint.spec, reference_operations())
    module: Any = stages.modules["perceive"]
    cached, cache_text = [], module.cache_text
    module.cache_text = lambda text: (cached.append(text.clone()), cache_text(text))
    engine = EagerStage(module, stages.signatures["perceive"], CPU)
    random = np.random.default_rng(0)
    shapes = {t.name: t.shape for t in stages.signatures["perceive"].inputs}
    given = {"frames": random.integers(0, 256, shapes["frames"], dtype=np.uint8)}
    given |= {n: random.standard_normal(shapes[n], np.float32) for n in ("text_hidden", "video_noise")}
    first, again = engine.run(given)["tokens"], engine.run(given)["tokens"]
    assert len(cached) == 1
    np.testing.assert_array_equal(first, again)
    other = engine.run(given | {"text_hidden": -given["text_hidden"]})["tokens"]
    assert len(cached) == 2
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(engine.run(given)["tokens"], first)


@pytest.mark.skipif(why_no_gpu() is None, reason="there is a GPU")
def test_without_a_gpu_the_backend_says_what_it_needs(small_bundle: Path, small_checkpoint: Path) -> None:
    with pytest.raises(BadInputError, match="needs an NVIDIA GPU"):
        EdgePolicy.load(small_bundle, "torch-cuda", checkpoint=small_checkpoint)


@pytest.mark.gpu
@needs_gpu
@needs_triton
def test_captured_stages_are_the_reference_implementation_to_within_fp16(golden: Golden) -> None:
    checkpoint, device = read_checkpoint(paths_from_folder(golden.checkpoint)), torch.device("cuda", 0)
    stages = fp16_stages(policy_from_checkpoint(checkpoint), checkpoint.spec, kernel_operations())
    for stage, result in (("perceive", "tokens"), ("act", "actions")):
        engine = CudaGraphStage(stages.modules[stage].to(device), stages.signatures[stage], device)
        given = inputs_of(golden, stage)
        engine.run({name: np.zeros_like(array) for name, array in given.items()})  # must leave no trace
        assert_within_fp16(engine.run(given)[result], golden, result)
