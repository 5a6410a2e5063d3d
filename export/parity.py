"""Parity of exported stages: in, graphs and the eager policy; out, the certificate of how far they are apart.

The reference is the eager float32 policy that reproduces the released code (`vpp_edge.model`). Every stage is compared
on the same inputs, and once more end to end, where each stage feeds on the exported one before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vpp_edge.bundle.certificate import Certificate, physical_errors
from vpp_edge.bundle.comparison import Comparison, compare, worst_of
from vpp_edge.bundle.tolerances import Limit
from vpp_edge.cpu_session import cpu_session
from vpp_edge.errors import CheckFailedError
from vpp_edge.export.tokenizer import text_inputs
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec, TensorSpec
from vpp_edge.spec.sample import Sample

Arrays = dict[str, np.ndarray]


@dataclass
class References:
    """What the reference computed for one sample: inputs by stage, and outputs by tensor name."""

    instruction: str
    inputs: dict[str, Arrays]
    outputs: Arrays


def references_from_policy(
    policy: VideoPredictionPolicy, spec: PolicySpec, tokenizer: Any, samples: Sequence[Sample]
) -> list[References]:
    """Inputs and eager outputs of every stage for every sample."""
    found = []
    for sample in samples:
        ids = text_inputs(tokenizer, spec, sample.instruction)
        frames, video_noise, action_noise = map(
            torch.from_numpy, (sample.frames, sample.video_noise, sample.action_noise)
        )
        proprio = None if sample.proprio is None else torch.from_numpy(sample.proprio)
        text_hidden, goal = policy.encode_text(*ids)
        tokens = policy.perceive(frames, text_hidden, video_noise)
        actions = policy.act(tokens, goal, proprio, action_noise)
        act = {
            "tokens": tokens,
            "goal": goal,
            "action_noise": action_noise,
            "prefix": torch.zeros_like(actions),
            "prefix_weight": torch.zeros(actions.shape[:2]),
        }
        if proprio is not None:
            act["proprio"] = proprio
        inputs = {
            "text": dict(zip(("ids", "mask", "goal_ids", "goal_mask"), ids, strict=True)),
            "perceive": {"frames": frames, "text_hidden": text_hidden, "video_noise": video_noise},
            "act": act,
        }
        outputs = {"text_hidden": text_hidden, "goal": goal, "tokens": tokens, "actions": actions}
        found.append(References(sample.instruction, {s: _arrays(t) for s, t in inputs.items()}, _arrays(outputs)))
    return found


def _arrays(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


class HasOutputs(Protocol):
    """A stage to check: a Stage of the exporter, or a StageRecord of a manifest."""

    @property
    def name(self) -> str: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...


class ParityCheck:
    """Compares stage by stage; a stage is loaded, run on every sample and dropped: one is in memory at a time.

    Args:
        references: inputs and outputs to compare with.
        limits: by tensor.
    """

    def __init__(self, references: Sequence[References], limits: Mapping[str, Limit]) -> None:
        self.references, self.limits = references, limits
        self._alone: dict[str, Comparison] = {}
        self._end_to_end: dict[str, Comparison] = {}
        self._carried: list[Arrays] = [{} for _ in references]

    def measure_stage(self, stage: HasOutputs, graph: Path) -> None:
        """Runs a stage on the reference inputs, and on what the stages before it gave."""
        session, names = cpu_session(graph), [t.name for t in stage.outputs]
        for reference, carried in zip(self.references, self._carried, strict=True):
            inputs = reference.inputs[stage.name]
            outputs = dict(zip(names, session.run(names, inputs), strict=True))
            for name in names:
                _keep_worst(self._alone, name, compare(outputs[name], reference.outputs[name]))
            if carried:  # what the stages before this one gave, instead of the reference
                chained = {n: carried.get(n, a) for n, a in inputs.items()}
                outputs = dict(zip(names, session.run(names, chained), strict=True))
            carried |= outputs
            for name in names:
                _keep_worst(self._end_to_end, name, compare(carried[name], reference.outputs[name]))

    def require_stage(self, stage: HasOutputs, graph: Path) -> None:
        """`measure_stage`, and nothing less than within the limits.

        Raises:
            CheckFailedError: an output differs by more than its limit, or is not finite.
        """
        self.measure_stage(stage, graph)
        for name in (t.name for t in stage.outputs):
            for kind, errors in (("alone", self._alone), ("end to end", self._end_to_end)):
                if not self.limits[name].allows(errors[name]):
                    raise CheckFailedError(
                        f"exported stage {stage.name} does not match the model ({kind}): {name} differs by "
                        f"{errors[name].max_relative:.3g} of its largest value (relative RMS "
                        f"{errors[name].rms_relative:.3g}), allowed {self.limits[name]}. No bundle was written. "
                        "Please report this with the library versions."
                    )

    def certificate(self, spec: PolicySpec, reference: str, data: str) -> Certificate:
        """What was measured, worst over all samples.

        Args:
            reference: what the references are from, and data: which observations they are, in words.
        """
        actions = [c["actions"] for c in self._carried]
        physical = physical_errors(spec, actions, [r.outputs["actions"] for r in self.references])
        return Certificate(
            reference, data, len(self.references), dict(self.limits), self._alone, self._end_to_end, physical
        )


def _keep_worst(errors: dict[str, Comparison], name: str, found: Comparison) -> None:
    errors[name] = worst_of(errors.get(name, found), found)
