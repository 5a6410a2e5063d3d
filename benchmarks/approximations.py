"""What faster settings change in a policy: prints tables of the error of its actions, and of operations.

    OMP_NUM_THREADS=1 python benchmarks/approximations.py CKPT [--samples 2]

The eager policy runs random observations at each setting and as trained, with the same noise. On a checkpoint with
random weights the tables show that the code works, but say little about a trained policy: measure your own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vpp_edge.bundle.comparison import Comparison, compare
from vpp_edge.bundle.reference import Reference
from vpp_edge.checkpoint.config import SAMPLERS
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_spec import exponential_sigmas
from vpp_edge.checkpoint.reader import Checkpoint, read_checkpoint
from vpp_edge.export.parity import references_from_policy
from vpp_edge.export.samples import random_samples
from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.export.tokenizer import load_tokenizer
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint

STEPS = (10, 8, 5, 4, 2, 1)
STRIDES = (1, 2, 4, 8)


class Measurement:
    """A trained policy, its outputs for random observations, and their distance to those at other settings."""

    def __init__(self, checkpoint: Checkpoint, samples: int, seed: int) -> None:
        self.checkpoint, self.spec = checkpoint, checkpoint.spec
        self.policy = policy_from_checkpoint(checkpoint)
        tokenizer = load_tokenizer(checkpoint.paths.text_encoder)
        observations = random_samples(self.spec, samples, seed)
        self.references = references_from_policy(self.policy, self.spec, tokenizer, observations)

    def with_steps(self, steps: int, solver: str) -> VideoPredictionPolicy:
        sigmas = exponential_sigmas(replace(self.checkpoint.trained.sampler, steps=steps))
        return self.policy.with_settings(sigmas, solver, 1)

    def with_stride(self, stride: int) -> VideoPredictionPolicy:
        return self.policy.with_settings(self.policy.sigmas, self.policy.sampler, stride)

    def actions(self, policy: VideoPredictionPolicy) -> Comparison:
        """Worst error of the actions over the samples, on the trained policy's tokens."""
        return worst(compare(act(policy, r, r.outputs["tokens"]), r.outputs["actions"]) for r in self.references)

    def tokens_and_actions(self, policy: VideoPredictionPolicy) -> tuple[Comparison, Comparison]:
        """Worst error of the tokens, and of the actions that follow from them."""
        found = [perceive(policy, r) for r in self.references]
        pairs = list(zip(found, self.references, strict=True))
        return (
            worst(compare(tokens, r.outputs["tokens"]) for tokens, r in pairs),
            worst(compare(act(policy, r, tokens), r.outputs["actions"]) for tokens, r in pairs),
        )

    def operations(self, policy: VideoPredictionPolicy, stage: str) -> int:
        """Floating-point operations of a stage's products and convolutions, as exported."""
        spec = replace(self.spec, sigmas=tuple(policy.sigmas), sampler=policy.sampler)
        (found,) = (s for s in stages_from_policy(policy, spec) if s.name == stage)
        return operations_of(found, self.references[0])


def perceive(policy: VideoPredictionPolicy, reference: Reference) -> np.ndarray:
    given = reference.inputs["perceive"]
    tokens = policy.perceive(*(torch.from_numpy(given[n]) for n in ("frames", "text_hidden", "video_noise")))
    return tokens.numpy()


def act(policy: VideoPredictionPolicy, reference: Reference, tokens: np.ndarray) -> np.ndarray:
    given = {n: torch.from_numpy(a) for n, a in reference.inputs["act"].items()}
    actions = policy.act(torch.from_numpy(tokens), given["goal"], given.get("proprio"), given["action_noise"])
    return actions.numpy()


def worst(errors: Iterable[Comparison]) -> Comparison:
    return max(errors, key=lambda e: e.rms_relative)


@torch.no_grad()
def operations_of(stage: Stage, reference: Reference) -> int:
    inputs = [torch.from_numpy(reference.inputs[stage.name][t.name]) for t in stage.inputs]
    with FlopCounterMode(display=False) as counter:
        stage.module(*inputs)
    return int(counter.get_total_flops())


def tables(measurement: Measurement) -> Iterator[str]:
    m = measurement
    yield "| steps | " + " | ".join(f"{s}: RMS | {s}: max" for s in SAMPLERS) + " | `act`, MFLOP |"
    yield "|" + "---|" * (2 * len(SAMPLERS) + 2)
    for steps in STEPS:
        policies = [m.with_steps(steps, solver) for solver in SAMPLERS]
        cost = m.operations(policies[0], "act") / 1e6
        yield row([steps, *(c for p in policies for c in cells(m.actions(p))), f"{cost:.1f}"])
    yield ""
    yield "| frames | tokens: RMS | actions: RMS | actions: max | `perceive`, GFLOP |"
    yield "|---|---|---|---|---|"
    for stride in STRIDES:
        policy = m.with_stride(stride)
        tokens, actions = m.tokens_and_actions(policy)
        cost = m.operations(policy, "perceive") / 1e9
        yield row([m.spec.frames // stride, cells(tokens)[0], *cells(actions), f"{cost:.2f}"])


def cells(found: Comparison) -> tuple[str, str]:
    return percent(found.rms_relative), percent(found.max_relative)


def percent(share: float) -> str:
    return "0" if share < 1e-5 else f"{100 * share:.2g} %"


def row(values: Sequence[object]) -> str:
    return "| " + " | ".join(str(v) for v in values) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="folder with svd/, clip/ and policy.pt")
    parser.add_argument("--samples", type=int, default=2, help="random observations; the worst counts (2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the observations (0)")
    arguments = parser.parse_args()
    checkpoint = read_checkpoint(paths_from_folder(arguments.checkpoint))
    sampler = checkpoint.trained.sampler
    print(f"reference: as trained, {sampler.steps} steps of {sampler.name}, {checkpoint.spec.frames} frames")
    for line in tables(Measurement(checkpoint, arguments.samples, arguments.seed)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
