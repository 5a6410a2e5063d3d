"""Input arrays of the stages `perceive` and `act`, by the names of the exported graphs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample

Arrays = dict[str, np.ndarray]


def perceive_inputs(frames: np.ndarray, text_hidden: np.ndarray, video_noise: np.ndarray) -> Arrays:
    """Inputs of `perceive`: frames (V, H, W, 3), text_hidden (1, 20, 1024) and video_noise (V, F, 4, h, w)."""
    return {"frames": frames, "text_hidden": text_hidden, "video_noise": video_noise}


def act_inputs(
    spec: PolicySpec,
    *,
    tokens: np.ndarray,
    goal: np.ndarray,
    action_noise: np.ndarray,
    proprio: np.ndarray | None,
    prefix: np.ndarray | None = None,
    prefix_weight: np.ndarray | None = None,
) -> Arrays:
    """Inputs of `act`.

    Args:
        tokens: (1, L, D).
        goal: (1, G).
        action_noise: (1, T, A), standard normal.
        proprio: normalized state, (P,) or (1, 1, P); None for policies without one.
        prefix: (1, T, A) normalized actions that the chunk is pulled to; None: zeros.
        prefix_weight: (1, T) how strongly, 0 to 1 per action; None: zeros, which leave the chunk free.

    Raises:
        BadInputError: proprio is missing, or the policy takes none.
    """
    chunk = (1, *spec.chunk_shape)
    inputs = {
        "tokens": tokens,
        "goal": goal,
        "action_noise": action_noise,
        "prefix": np.zeros(chunk, np.float32) if prefix is None else prefix,
        "prefix_weight": np.zeros(chunk[:2], np.float32) if prefix_weight is None else prefix_weight,
    }
    if spec.state is not None:
        if proprio is None:
            raise BadInputError(f"this policy needs proprio, ({spec.state.dims},) float32; normalize_state makes it")
        inputs["proprio"] = proprio.reshape(1, 1, -1) if isinstance(proprio, np.ndarray) else proprio
    elif proprio is not None:
        raise BadInputError("this policy takes no proprioception; leave proprio out")
    return inputs


def stage_inputs(
    spec: PolicySpec, sample: Sample, text: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> dict[str, Arrays]:
    """Inputs of all three stages for a sample, each stage fed with the outputs of the one before.

    Args:
        text: inputs of stage `text`, from a tokenizer.
        outputs: `text_hidden`, `goal` and `tokens`.
    """
    return {
        "text": dict(text),
        "perceive": perceive_inputs(sample.frames, outputs["text_hidden"], sample.video_noise),
        "act": act_inputs(
            spec,
            tokens=outputs["tokens"],
            goal=outputs["goal"],
            action_noise=sample.action_noise,
            proprio=sample.proprio,
        ),
    }
