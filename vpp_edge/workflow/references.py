"""Run a float32 bundle on samples, for reference inputs and outputs of every stage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.reference import Reference
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.sample import Sample
from vpp_edge.spec.stage_inputs import stage_inputs
from vpp_edge.verification.policy_outputs import outputs_from_sample


def references_from_bundle(
    bundle: Bundle, samples: Sequence[Sample], report: ProgressCallback = ignore_progress, stage: str = "observe"
) -> list[Reference]:
    """One inference per sample on ONNX Runtime, with the noise of the sample.

    Args:
        report: called with (stage, fraction).
    """
    report(stage, 0)
    policy = EdgePolicy.load(bundle.path)
    references = []
    for i, sample in enumerate(samples):
        outputs = outputs_from_sample(policy, sample)
        text = policy.text_inputs(sample.instruction)
        references.append(
            Reference(sample=sample, outputs=outputs, inputs=stage_inputs(policy.spec, sample, text, outputs))
        )
        report(stage, (i + 1) / len(samples))
    return references


def with_prefix(reference: Reference) -> Reference:
    """The same observation during the execution of a chunk: `act` is pulled to its own actions, decreasingly."""
    actions = reference.outputs["actions"]
    weight = np.linspace(1, 0, actions.shape[1], dtype=np.float32)[None]
    act = {**reference.inputs["act"], "prefix": actions, "prefix_weight": weight}
    return replace(reference, inputs={**reference.inputs, "act": act})


def stage_key(bundle: Bundle, stage: str) -> str:
    """SHA-256 over graph and weights of a stage, which identifies the stage that a calibration table is for."""
    record = bundle.stage(stage)
    names = [record.graph, *([record.weights] if record.weights else [])]
    return hashlib.sha256("".join(bundle.manifest.files[n].sha256 for n in names).encode()).hexdigest()
