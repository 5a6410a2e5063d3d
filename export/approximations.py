"""Errors of an approximate export: the policy at chosen settings compared with the policy at trained settings.

Fewer sampling steps, another solver and fewer computed frames each change the actions. Parity shows that the graphs
match the model at the chosen settings; this shows how far these settings are from the trained ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vpp_edge.bundle.comparison import Comparison, compare
from vpp_edge.bundle.reference import Reference
from vpp_edge.checkpoint.config import PolicyConfig
from vpp_edge.checkpoint.policy_spec import exponential_sigmas
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.model.policy import VideoPredictionPolicy


def approximate_settings(config: PolicyConfig) -> dict[str, int | str]:
    """The settings that an export may change: `steps`, `solver` and `frames`."""
    return {"steps": config.sampler.steps, "solver": config.sampler.name, "frames": config.computed_frames}


def trained_policy(checkpoint: Checkpoint, policy: VideoPredictionPolicy) -> VideoPredictionPolicy:
    """The eager policy at trained settings, with the weights of the one at chosen settings."""
    sampler = checkpoint.trained.sampler
    return policy.with_settings(exponential_sigmas(sampler), sampler.name, 1)


def measured_approximations(
    checkpoint: Checkpoint, policy: VideoPredictionPolicy, references: Sequence[Reference]
) -> dict[str, Any] | None:
    """The certificate's `approximations`: settings, those trained, and the worst error over the samples.

    Args:
        checkpoint: read with the chosen settings.
        policy: its eager policy.
        references: of `policy`.

    Returns:
        None if the policy is exported as it was trained.
    """
    chosen, trained = approximate_settings(checkpoint.config), approximate_settings(checkpoint.trained)
    if chosen == trained:
        return None
    exact = trained_policy(checkpoint, policy)
    worst: dict[str, Comparison] = {}
    for reference in references:
        seen, acted = ({n: torch.from_numpy(a) for n, a in reference.inputs[s].items()} for s in ("perceive", "act"))
        tokens = acted["tokens"]
        if chosen["frames"] != trained["frames"]:
            tokens = exact.perceive(seen["frames"], seen["text_hidden"], seen["video_noise"])
        actions = exact.act(tokens, acted["goal"], acted.get("proprio"), acted["action_noise"])
        for name, tensor in (("tokens", tokens), ("actions", actions)):
            found = compare(reference.outputs[name], tensor.numpy())
            if name not in worst or not found.rms_relative <= worst[name].rms_relative:
                worst[name] = found
    return {"options": chosen, "trained": trained, **{name: c.to_json() for name, c in worst.items()}}
