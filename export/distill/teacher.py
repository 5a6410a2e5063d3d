"""What the teacher computes of every observation, kept on disk: in, samples; out, tokens, goals and proprioception.

Perceiving is nearly all of the teacher's work, so it is done once. Finished shards stay when a run is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vpp_edge.export.distill.head import Seen
from vpp_edge.export.tokenizer import text_inputs
from vpp_edge.files.partial import PartialFile
from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.progress import ProgressCallback
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample

SHARD = 64  # observations; a killed run loses at most as many


def shard_count(count: int) -> int:
    """Shards of `count` observations."""
    return -(-count // SHARD)


def bytes_of(spec: PolicySpec, count: int) -> int:
    """Disk space that the tokens of `count` observations take."""
    length, width = spec.tokens
    return 2 * length * width * count


@torch.no_grad()
def keep_teacher(
    policy: VideoPredictionPolicy,
    spec: PolicySpec,
    tokenizer: Any,
    *,
    samples: Iterable[Sample],
    count: int,
    folder: Path,
    name: str,
    report: ProgressCallback,
) -> Seen:
    """Computes and keeps what the head sees of `count` samples; what is already in `folder` is not computed again."""
    texts: dict[str, tuple[Tensor, Tensor]] = {}
    remaining, done = iter(samples), 0
    files = [folder / f"{name}-{number:05d}.safetensors" for number in range(shard_count(count))]
    for file in files:
        batch: Iterator[Sample] = islice(remaining, SHARD)
        if file.exists():
            done += sum(1 for _ in batch)
            continue
        found: list[dict[str, Tensor]] = []
        for sample in batch:
            report(name, done / count)
            if sample.instruction not in texts:
                texts[sample.instruction] = policy.encode_text(*text_inputs(tokenizer, spec, sample.instruction))
            hidden, goal = texts[sample.instruction]
            frames, noise = torch.from_numpy(sample.frames), torch.from_numpy(sample.video_noise)
            row = {"tokens": policy.perceive(frames, hidden, noise)[0].half(), "goals": goal[0]}
            if sample.proprio is not None:
                row["proprio"] = torch.from_numpy(sample.proprio[0])
            found.append(row)
            done += 1
        with PartialFile(file) as partial:
            save_file({key: torch.stack([row[key] for row in found]) for key in found[0]}, partial.path)
            partial.complete()
    shards = [load_file(file) for file in files]
    joined = {key: torch.cat([shard[key] for shard in shards]) for key in shards[0]}
    return Seen(tokens=joined["tokens"], goals=joined["goals"], proprio=joined.get("proprio"))
