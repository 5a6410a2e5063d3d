"""Latency of `perceive` and `act` of a whole policy, run in three ways in turns.

The first contender is the released code, which runs PyTorch layer by layer, in FP16. The second is the same with
torch.compile, which turns it into CUDA graphs. The third is backend `torch-cuda`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_timing import Bench
from torch import Tensor, nn

from vpp_edge.bundle.comparison import compare
from vpp_edge.bundle.tolerances import TOLERANCES
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.errors import CheckFailedError
from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.export.torch_cuda.cuda_graph import CudaGraphStage, EagerStage
from vpp_edge.export.torch_cuda.fp16 import HALF, fp16_stages
from vpp_edge.export.torch_cuda.operations import Operations
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint
from vpp_edge.trace import Trace

OURS, EAGER, COMPILED = "torch-cuda", "eager fp16", "torch.compile fp16"
STAGES = {"perceive": "tokens", "act": "actions"}
WARMUP = 5
Feeds = Mapping[str, dict[str, np.ndarray]]


class ReleasedPerceive(nn.Module):
    """The eager `perceive`, in the precision of its modules."""

    def __init__(self, policy: VideoPredictionPolicy) -> None:
        super().__init__()
        self.policy, self.video, self.former = policy, policy.video, policy.former

    def forward(self, frames: Tensor, text_hidden: Tensor, video_noise: Tensor) -> Tensor:
        dtype = self.policy.head.action_emb.weight.dtype
        return self.policy.perceive(frames, text_hidden.to(dtype), video_noise.to(dtype)).float()


class ReleasedAct(nn.Module):
    """The eager `act`, in the precision of its modules, without a prefix."""

    def __init__(self, policy: VideoPredictionPolicy) -> None:
        super().__init__()
        self.policy, self.head = policy, policy.head

    def forward(self, tokens: Tensor, goal: Tensor, *others: Tensor) -> Tensor:
        dtype = self.policy.head.action_emb.weight.dtype
        *proprio, noise, _prefix, _weight = others
        state = proprio[0].to(dtype) if proprio else None
        return self.policy.act(tokens.to(dtype), goal.to(dtype), state, noise.to(dtype)).float()


class _Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to(HALF)


def fp16_policy(policy: VideoPredictionPolicy) -> VideoPredictionPolicy:
    """The modules of the released code in FP16, including the VAE."""
    half = copy.deepcopy(policy)
    for module in (half.video, half.former, half.head):
        module.to(HALF)
    encoder = half.video.encoder
    encoder.network = nn.Sequential(_Half(), encoder.network)
    return half


@dataclass(frozen=True)
class Contender:
    """One way to run both stages."""

    name: str
    engines: Mapping[str, EagerStage]


def measured_policy(bench: Bench, folder: Path, kernels: Operations, rounds: int, with_compile: bool) -> dict[str, Any]:
    """Latency and errors by contender.

    Args:
        folder: a checkpoint.
        kernels: operations for `torch-cuda`.
        rounds: measured inferences per contender, taken in turns.
        with_compile: whether to include torch.compile, which takes minutes to start.

    Raises:
        CheckFailedError: `torch-cuda` exceeds the FP16 tolerances against the float32 policy.
    """
    checkpoint = read_checkpoint(paths_from_folder(folder))
    policy = policy_from_checkpoint(checkpoint)
    signatures = {s.name: s for s in stages_from_policy(policy, checkpoint.spec)}
    feeds = feeds_of(signatures)
    expected = reference_outputs(bench, policy, signatures, feeds)
    feeds["act"]["tokens"] = expected["tokens"]
    traces, errors = {}, {}
    contenders = list(
        _contenders(bench, policy, checkpoint.spec, signatures=signatures, kernels=kernels, with_compile=with_compile)
    )
    for contender in contenders:
        errors[contender.name] = _errors(contender, feeds, expected)
        traces[contender.name] = Trace()
    _require_fp16(errors[OURS])
    warmup = WARMUP if bench.device.type == "cuda" else 1
    for turn in range(warmup + rounds):
        for contender in contenders:
            trace = Trace()
            with trace.measure("total"):
                for stage, engine in contender.engines.items():
                    with trace.measure(stage):
                        engine.run(feeds[stage])
            for name, (duration_ns,) in trace.durations_ns.items():
                if turn >= warmup:
                    traces[contender.name].add(name, duration_ns)
    return {
        name: {"errors": errors[name], **{s: t.to_json() for s, t in trace.latencies().items()}}
        for name, trace in traces.items()
    }


def _contenders(
    bench: Bench,
    policy: VideoPredictionPolicy,
    spec: Any,
    signatures: Mapping[str, Stage],
    kernels: Operations,
    with_compile: bool,
) -> Iterator[Contender]:
    half = fp16_policy(policy)
    released: dict[str, nn.Module] = {"perceive": ReleasedPerceive(half), "act": ReleasedAct(half)}
    for module in released.values():
        module.to(bench.device)
    yield Contender(EAGER, {n: EagerStage(m, signatures[n], bench.device) for n, m in released.items()})
    if with_compile:
        compiled = {n: torch.compile(m, mode="reduce-overhead", dynamic=False) for n, m in released.items()}
        yield Contender(COMPILED, {n: EagerStage(m, signatures[n], bench.device) for n, m in compiled.items()})
    engine: Callable[..., EagerStage] = CudaGraphStage if bench.device.type == "cuda" else EagerStage
    stages = fp16_stages(copy.deepcopy(policy), spec, kernels)
    yield Contender(
        OURS, {n: engine(stages.modules[n].to(bench.device), stages.signatures[n], bench.device) for n in STAGES}
    )


def feeds_of(signatures: Mapping[str, Stage]) -> dict[str, dict[str, np.ndarray]]:
    """Random inputs of both stages with a fixed seed, without a prefix."""
    random = np.random.default_rng(0)
    feeds: dict[str, dict[str, np.ndarray]] = {}
    for name in STAGES:
        feeds[name] = {}
        for tensor in signatures[name].inputs:
            if tensor.dtype == "uint8":
                feeds[name][tensor.name] = random.integers(0, 256, tensor.shape, dtype=np.uint8)
            else:
                feeds[name][tensor.name] = random.standard_normal(tensor.shape, np.float32)
    for unused in ("prefix", "prefix_weight"):
        feeds["act"][unused][...] = 0
    return feeds


def reference_outputs(
    bench: Bench, policy: VideoPredictionPolicy, signatures: Mapping[str, Stage], feeds: Feeds
) -> dict[str, np.ndarray]:
    """Tokens and actions of the eager float32 policy, without TF32; moves `policy` back to the CPU."""
    cudnn, outputs = torch.backends.cudnn, {}
    with cudnn.flags(enabled=cudnn.enabled, allow_tf32=False):
        for name, module in (("perceive", ReleasedPerceive(policy)), ("act", ReleasedAct(policy))):
            inputs = feeds[name] | ({"tokens": outputs["tokens"]} if name == "act" else {})
            outputs |= EagerStage(module.to(bench.device), signatures[name], bench.device).run(inputs)
            module.to("cpu")
    return outputs


def _errors(contender: Contender, feeds: Feeds, expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Largest error of tokens and actions relative to the largest value; NaN if a result is not finite."""
    errors = {}
    for stage, result in STAGES.items():
        comparison = compare(contender.engines[stage].run(feeds[stage])[result], expected[result])
        errors[result] = comparison.max_relative if comparison.finite else float("nan")
    return errors


def _require_fp16(errors: Mapping[str, float]) -> None:
    for name, error in errors.items():
        limit = TOLERANCES["fp16"][name].value
        if not error <= limit:
            raise CheckFailedError(f"{OURS}: error of {name} is {error:.1e} of the largest, allowed {limit:.1e}")
