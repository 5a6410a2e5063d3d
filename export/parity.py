"""Parity of exported stages: compare graphs with the eager policy and certify how far apart they are.

The reference is the eager float32 policy that reproduces the released code (`vpp_edge.model`). Every stage is compared
on the same inputs, and once more end to end, where each stage is fed with the output of the exported stage before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from vpp_edge.bundle.certificate import ALONE, END_TO_END, Certificate, physical_errors
from vpp_edge.bundle.reference import Reference
from vpp_edge.bundle.tensor_check import TensorCheck, check_tensors
from vpp_edge.bundle.tolerances import Limit
from vpp_edge.cpu_session import cpu_session
from vpp_edge.errors import CheckFailedError
from vpp_edge.export.tokenizer import text_inputs
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec, TensorSpec
from vpp_edge.spec.sample import Sample
from vpp_edge.spec.stage_inputs import stage_inputs

_TEXT_INPUTS = ("ids", "mask", "goal_ids", "goal_mask")


def references_from_policy(
    policy: VideoPredictionPolicy, spec: PolicySpec, tokenizer: Any, samples: Sequence[Sample]
) -> list[Reference]:
    """Inputs and eager outputs of every stage for every sample."""
    references = []
    for sample in samples:
        ids = text_inputs(tokenizer, spec, sample.instruction)
        frames, video_noise, action_noise = map(
            torch.from_numpy, (sample.frames, sample.video_noise, sample.action_noise)
        )
        proprio = None if sample.proprio is None else torch.from_numpy(sample.proprio)
        text_hidden, goal = policy.encode_text(*ids)
        tokens = policy.perceive(frames, text_hidden, video_noise)
        actions = policy.act(tokens, goal, proprio, action_noise)
        tensors = {"text_hidden": text_hidden, "goal": goal, "tokens": tokens, "actions": actions}
        outputs = {name: tensor.numpy() for name, tensor in tensors.items()}
        text = {name: tensor.numpy() for name, tensor in zip(_TEXT_INPUTS, ids, strict=True)}
        references.append(Reference(sample=sample, outputs=outputs, inputs=stage_inputs(spec, sample, text, outputs)))
    return references


class HasOutputs(Protocol):
    """A stage to check: a Stage of the exporter, or a StageRecord of a manifest."""

    @property
    def name(self) -> str: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...


class ParityCheck:
    """Compares stage by stage. A stage is loaded, run on every sample and dropped: one is in memory at a time.

    Args:
        references: inputs and outputs to compare with.
        limits: by tensor.
    """

    def __init__(self, references: Sequence[Reference], limits: Mapping[str, Limit]) -> None:
        self.references, self.limits = references, limits
        self._worst: dict[str, dict[str, TensorCheck]] = {ALONE: {}, END_TO_END: {}}  # by kind, then tensor
        self._carried: list[dict[str, np.ndarray]] = [{} for _ in references]

    def measure_stage(self, stage: HasOutputs, graph: Path) -> None:
        """Runs a stage on the reference inputs, and on the outputs of the stages before it."""
        session, names = cpu_session(graph), [t.name for t in stage.outputs]
        for reference, carried in zip(self.references, self._carried, strict=True):
            inputs = reference.inputs[stage.name]
            outputs = dict(zip(names, session.run(names, inputs), strict=True))
            self._record(ALONE, outputs, reference)
            if carried:  # outputs of the stages before this one, instead of the reference's
                chained = {n: carried.get(n, a) for n, a in inputs.items()}
                outputs = dict(zip(names, session.run(names, chained), strict=True))
            carried |= outputs
            self._record(END_TO_END, outputs, reference)

    def _record(self, kind: str, outputs: Mapping[str, np.ndarray], reference: Reference) -> None:
        worst = self._worst[kind]
        for check in check_tensors(kind, outputs, reference.outputs, self.limits):
            worst[check.tensor] = worst.get(check.tensor, check).worst(check)

    def require_stage(self, stage: HasOutputs, graph: Path) -> None:
        """`measure_stage`, and an error where an output is over its limit.

        Raises:
            CheckFailedError: an output differs by more than its limit, or is not finite.
        """
        self.measure_stage(stage, graph)
        for name in (t.name for t in stage.outputs):
            for check in (worst[name] for worst in self._worst.values()):
                if not check.passed:
                    raise CheckFailedError(
                        f"exported stage {stage.name} does not match the model ({check.case}): {name} differs by "
                        f"{check.errors.max_relative:.3g} of its largest value (relative RMS "
                        f"{check.errors.rms_relative:.3g}), allowed {check.limit}. No bundle was written. "
                        "Please report this with the library versions."
                    )

    def certificate(self, spec: PolicySpec, reference: str, data: str) -> Certificate:
        """The worst errors over all samples.

        Args:
            reference: description of what computed the references.
            data: description of the observations.
        """
        actions = [c["actions"] for c in self._carried]
        stages, end_to_end = ({n: c.errors for n, c in self._worst[kind].items()} for kind in (ALONE, END_TO_END))
        return Certificate(
            reference=reference,
            data=data,
            samples=len(self.references),
            limits=dict(self.limits),
            stages=stages,
            end_to_end=end_to_end,
            physical=physical_errors(spec, actions, [r.outputs["actions"] for r in self.references]),
        )
