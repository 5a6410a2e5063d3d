"""What the teacher computes of every observation, kept on disk in shards for the students to learn from.

Perceiving is nearly all of the teacher's work, so it is done once. Finished shards stay when a run is killed. A shard
depends on its number only, so shards can be made in any order and anywhere.

A shard of N observations holds

- what the action head reads and says: `tokens` (N, L, D) float16, `goals` (N, G) float32, `proprio` (N, 1, P) float32
  where the policy has a state, `actions` (N, T, A) float16, normalized;
- and for a student of the video model: `frames` (N, V, H, W, 3) uint8, `text_hidden` (N, 20, S) float16, `latents`
  (N, V, 4, h, w) float16, and of the student's F' frames `features` (N, V, F', C, h', w') int8, in units of `scales`
  (N, C).

The noise of observation n is not kept: it is drawn from (seed, n).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from vpp_edge.export.tokenizer import text_inputs
from vpp_edge.files.partial import PartialFile
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample

SHARD = 16  # observations; a killed run and a lost worker lose at most as many
INT8 = 127
Shard = dict[str, np.ndarray]


def shard_numbers(number: int, count: int) -> range:
    """The numbers of the observations, of `count`, in a shard."""
    return range(number * SHARD, min((number + 1) * SHARD, count))


def shard_files(folder: Path, name: str, count: int) -> list[Path]:
    """Where the shards of `count` observations are kept."""
    return [folder / f"{name}-{number:05d}.safetensors" for number in range(-(-count // SHARD))]


@torch.no_grad()
def shard_from_samples(
    policy: VideoPredictionPolicy, spec: PolicySpec, tokenizer: Any, samples: Iterable[Sample], stride: int | None
) -> Shard:
    """What the teacher makes of the samples, one after the other, on the device where it is.

    Args:
        stride: the student of its video model computes every `stride`-th frame; None: only its head is learnt from.
    """
    texts: dict[str, tuple[Tensor, Tensor]] = {}
    rows = []
    for sample in samples:
        if sample.instruction not in texts:
            inputs = text_inputs(tokenizer, spec, sample.instruction)
            texts[sample.instruction] = policy.encode_text(*(each.to(policy.device) for each in inputs))
        rows.append(_row(policy, sample, *texts[sample.instruction], stride))
    # In C order: safetensors writes the memory of an array as it is, and np.stack keeps the order of what it stacks.
    return {key: np.ascontiguousarray(np.stack([row[key].cpu().numpy() for row in rows])) for key in rows[0]}


def _row(
    policy: VideoPredictionPolicy, sample: Sample, hidden: Tensor, goal: Tensor, stride: int | None
) -> dict[str, Tensor]:
    given = (sample.frames, sample.video_noise, sample.action_noise)
    frames, noise, action_noise = (torch.from_numpy(each).to(policy.device) for each in given)
    proprio = None if sample.proprio is None else torch.from_numpy(sample.proprio).to(policy.device)
    features = policy.video(frames, hidden, noise[:, :: policy.frame_stride])
    tokens = policy.tokens(features)
    row = {
        "tokens": tokens[0].half(),
        "goals": goal[0],
        "actions": policy.act(tokens, goal, proprio, action_noise)[0].half(),
    }
    if proprio is not None:
        row["proprio"] = proprio[0]
    if stride is not None:
        scales = features.abs().amax(dim=(0, 1, 3, 4)).clamp_min(1e-12) / INT8
        row |= {
            "frames": frames,
            "text_hidden": hidden[0].half(),
            "latents": policy.video.encode_images(frames).half(),
            "features": (features[:, ::stride] / scales[:, None, None]).round().to(torch.int8),
            "scales": scales,
        }
    return row


def keep_shard(file: Path, shard: Shard) -> None:
    """Writes a shard, whole or not at all."""
    with PartialFile(file) as partial:
        save_file(shard, partial.path)
        partial.complete()
