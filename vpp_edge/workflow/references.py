"""What a float32 bundle computes on observations: in, bundle and samples; out, inputs and outputs of every stage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.export.parity import References
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.sample import Sample


def references_from_bundle(
    bundle: Bundle, samples: Sequence[Sample], report: ProgressCallback = ignore_progress, stage: str = "observe"
) -> list[References]:
    """One inference per sample on ONNX Runtime, with the noise of the sample.

    Args:
        report: called with (stage, fraction).
    """
    report(stage, 0)
    policy = EdgePolicy.load(bundle.path)
    found = []
    for i, sample in enumerate(samples):
        policy.instruct(sample.instruction)
        text_hidden, goal = policy.text
        inference = policy.infer(
            sample.frames, sample.proprio, video_noise=sample.video_noise, action_noise=sample.action_noise
        )
        act = {
            "tokens": inference.tokens,
            "goal": goal,
            "action_noise": sample.action_noise,
            "prefix": np.zeros_like(inference.actions),
            "prefix_weight": np.zeros(inference.actions.shape[:2], np.float32),
        }
        if sample.proprio is not None:
            act["proprio"] = sample.proprio
        inputs = {
            "text": policy.text_inputs(sample.instruction),
            "perceive": {"frames": sample.frames, "text_hidden": text_hidden, "video_noise": sample.video_noise},
            "act": act,
        }
        outputs = {"text_hidden": text_hidden, "goal": goal, "tokens": inference.tokens, "actions": inference.actions}
        found.append(References(sample.instruction, inputs, outputs))
        report(stage, (i + 1) / len(samples))
    return found


def with_prefix(reference: References) -> References:
    """The same observation while another chunk is being executed: `act` is pulled to its own actions, less and less."""
    act = dict(reference.inputs["act"])
    actions = reference.outputs["actions"]
    act["prefix"] = actions
    act["prefix_weight"] = np.linspace(1, 0, actions.shape[1], dtype=np.float32)[None]
    return References(reference.instruction, {**reference.inputs, "act": act}, reference.outputs)


def stage_key(bundle: Bundle, stage: str) -> str:
    """SHA-256 over graph and weights of a stage, which is what a calibration table belongs to."""
    record = bundle.stage(stage)
    names = [record.graph, *([record.weights] if record.weights else [])]
    return hashlib.sha256("".join(bundle.manifest.files[n].sha256 for n in names).encode()).hexdigest()
