"""What the teacher computes of every observation, kept on disk in shards: tokens, goals and proprioception.

Perceiving is nearly all of the teacher's work, so it is done once. Finished shards stay when a run is killed. A shard
depends on its number only, so shards can be made in any order and anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from vpp_edge.export.distill.head import Seen
from vpp_edge.export.tokenizer import text_inputs
from vpp_edge.files.partial import PartialFile
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample

SHARD = 16  # observations; a killed run and a lost worker lose at most as many
Shard = dict[str, np.ndarray]
"""Of N observations: tokens (N, L, D) float16, goals (N, G) float32; with a state, proprio (N, 1, P) float32."""


def shard_numbers(number: int, count: int) -> range:
    """The numbers of the observations, of `count`, in a shard."""
    return range(number * SHARD, min((number + 1) * SHARD, count))


def shard_files(folder: Path, name: str, count: int) -> list[Path]:
    """Where the shards of `count` observations are kept."""
    return [folder / f"{name}-{number:05d}.safetensors" for number in range(-(-count // SHARD))]


def bytes_of(spec: PolicySpec, count: int) -> int:
    """Disk space that the tokens of `count` observations take."""
    length, width = spec.tokens
    return 2 * length * width * count


@torch.no_grad()
def shard_from_samples(
    policy: VideoPredictionPolicy, spec: PolicySpec, tokenizer: Any, samples: Iterable[Sample]
) -> Shard:
    """What the head sees of the samples, one after the other."""
    texts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    rows: list[Shard] = []
    for sample in samples:
        if sample.instruction not in texts:
            texts[sample.instruction] = policy.encode_text(*text_inputs(tokenizer, spec, sample.instruction))
        hidden, goal = texts[sample.instruction]
        frames, noise = torch.from_numpy(sample.frames), torch.from_numpy(sample.video_noise)
        row = {"tokens": policy.perceive(frames, hidden, noise)[0].half().numpy(), "goals": goal[0].numpy()}
        if sample.proprio is not None:
            row["proprio"] = sample.proprio[0]
        rows.append(row)
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def keep_shard(file: Path, shard: Shard) -> None:
    """Writes a shard, whole or not at all."""
    with PartialFile(file) as partial:
        save_file(shard, partial.path)
        partial.complete()


def seen_from_shards(files: Sequence[Path]) -> Seen:
    """What the head sees of all observations, in their order."""
    shards = [load_file(file) for file in files]
    joined = {key: torch.cat([shard[key] for shard in shards]) for key in shards[0]}
    return Seen(tokens=joined["tokens"], goals=joined["goals"], proprio=joined.get("proprio"))
