"""Parity of exported stages: in, graphs and the eager policy; out, the certificate of how far they are apart.

The reference is the eager float32 policy that reproduces the released code (`vpp_edge.model`). Every stage is compared
on the same inputs, and once more end to end, where each stage feeds on the exported one before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpp_edge.compare import Comparison, compare
from vpp_edge.errors import CheckFailedError
from vpp_edge.export.samples import Sample
from vpp_edge.export.stages import Stage
from vpp_edge.export.tokenizer import text_inputs
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec import PolicySpec
from vpp_edge.tolerances import TOLERANCES

Arrays = dict[str, np.ndarray]


@dataclass
class References:
    """What the eager policy computed for one sample: inputs by stage, and outputs by tensor name."""

    inputs: dict[str, Arrays]
    outputs: Arrays


def references_from_policy(
    policy: VideoPredictionPolicy, spec: PolicySpec, tokenizer: Any, samples: Sequence[Sample]
) -> list[References]:
    """Inputs and eager outputs of every stage for every sample."""
    found = []
    for sample in samples:
        ids = text_inputs(tokenizer, spec, sample.instruction)
        text_hidden, goal = policy.encode_text(*ids)
        tokens = policy.perceive(sample.frames, text_hidden, sample.video_noise)
        actions = policy.act(tokens, goal, sample.proprio, sample.action_noise)
        act = {"tokens": tokens, "goal": goal, "action_noise": sample.action_noise,
               "prefix": torch.zeros_like(actions), "prefix_weight": torch.zeros(actions.shape[:2])}  # fmt: skip
        if sample.proprio is not None:
            act["proprio"] = sample.proprio
        inputs = {
            "text": dict(zip(("ids", "mask", "goal_ids", "goal_mask"), ids, strict=True)),
            "perceive": {"frames": sample.frames, "text_hidden": text_hidden, "video_noise": sample.video_noise},
            "act": act,
        }
        outputs = {"text_hidden": text_hidden, "goal": goal, "tokens": tokens, "actions": actions}
        found.append(References({s: _arrays(t) for s, t in inputs.items()}, _arrays(outputs)))
    return found


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


@dataclass
class ParityCheck:
    """Compares stage by stage; a stage is loaded, run on every sample and dropped: one is in memory at a time."""

    references: Sequence[References]
    tolerances: dict[str, float] = field(default_factory=lambda: TOLERANCES["fp32"])
    stage_errors: dict[str, Comparison] = field(default_factory=dict)
    end_to_end: dict[str, Comparison] = field(default_factory=dict)
    _carried: list[Arrays] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._carried = [{} for _ in self.references]

    def check_stage(self, stage: Stage, graph: Path) -> None:
        """Runs an exported stage on the reference inputs, and on what the exported stages before it gave.

        Raises:
            CheckFailedError: an output differs by more than its tolerance, or is not finite.
        """
        session, names = _session(graph), [t.name for t in stage.outputs]
        for reference, carried in zip(self.references, self._carried, strict=True):
            inputs = reference.inputs[stage.name]
            outputs = dict(zip(names, session.run(names, inputs), strict=True))
            for name in names:
                _keep_worst(self.stage_errors, name, compare(outputs[name], reference.outputs[name]))
            if carried:  # what the exported stages before this one gave, instead of the reference
                chained = {n: carried.get(n, a) for n, a in inputs.items()}
                outputs = dict(zip(names, session.run(names, chained), strict=True))
            carried |= outputs
            for name in names:
                _keep_worst(self.end_to_end, name, compare(carried[name], reference.outputs[name]))
        for name in names:
            for kind, errors in (("alone", self.stage_errors), ("end to end", self.end_to_end)):
                if not errors[name].within(self.tolerances[name]):
                    raise CheckFailedError(
                        f"exported stage {stage.name} does not match the model ({kind}): {name} differs by "
                        f"{errors[name].max_relative:.3g} of its largest value (relative RMS "
                        f"{errors[name].rms_relative:.3g}), allowed {self.tolerances[name]:g}. No bundle was written. "
                        "Please report this with the library versions."
                    )

    def certificate(self) -> dict[str, Any]:
        """What the manifest keeps: tolerances and worst errors over all samples."""
        return {
            "reference": "eager float32 policy (vpp_edge.model), same inputs and noise",
            "samples": len(self.references),
            "tolerances": self.tolerances,
            "stages": {name: c.to_json() for name, c in self.stage_errors.items()},
            "end_to_end": {name: c.to_json() for name, c in self.end_to_end.items()},
        }


def _keep_worst(errors: dict[str, Comparison], name: str, found: Comparison) -> None:
    if name not in errors or not found.max_relative <= errors[name].max_relative:
        errors[name] = found


def _session(graph: Path) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
