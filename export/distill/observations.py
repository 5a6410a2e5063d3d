"""What a student learns from: the teacher's outputs for every observation, on disk, read row by row.

A row of N observations holds:

- `tokens` (L, D) float16, `goals` (G,), `proprio` (1, P), what the action head reads;
- and for students of the video model also `frames` (V, H, W, 3) uint8, `text_hidden` (20, S) float16, `latents`
  (V, 4, h, w) float16, and `features` (V, F', C, h', w') int8 of the student's F' frames, to be multiplied by `scales` (C,).

The noise of observation i is not kept: it is drawn from (seed, i).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vpp_edge.model.policy import VideoPredictionPolicy
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import Sample, draw_video_noise

INT8 = 127


@dataclass(frozen=True)
class Observations:
    """Rows of the shards in a folder.

    Attributes:
        files: shards, of `shard` rows each but for the last one.
        count: rows in all.
        seed: of the noise.
    """

    files: tuple[Path, ...]
    shard: int
    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def all(self, name: str) -> Tensor | None:
        """Column `name` of all rows; None for policies that have none."""
        parts = []
        for file in self.files:
            with safe_open(file, framework="pt") as opened:
                if name not in opened.keys():  # noqa: SIM118 - not a dict
                    return None
                parts.append(opened.get_tensor(name))
        return torch.cat(parts)

    def rows(self, chosen: Sequence[int], names: Sequence[str]) -> dict[str, Tensor]:
        """Columns `names` of the rows `chosen`, (B, ...) each; only these rows are read."""
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        for row in chosen:
            with safe_open(self.files[row // self.shard], framework="pt") as opened:
                for name in names:
                    found[name].append(opened.get_slice(name)[row % self.shard])
        return {name: torch.stack(values) for name, values in found.items()}

    def noise(self, chosen: Sequence[int], spec: PolicySpec, stride: int) -> Tensor:
        """(B, V, F', 4, h, w) float32, the teacher's noise of the student's frames."""
        drawn = [draw_video_noise(spec, np.random.default_rng((self.seed, row)))[:, ::stride] for row in chosen]
        return torch.from_numpy(np.stack(drawn))


@torch.no_grad()
def row_from_sample(
    policy: VideoPredictionPolicy, sample: Sample, hidden: Tensor, goal: Tensor, stride: int | None
) -> dict[str, Tensor]:
    """What the teacher computes of one observation.

    Args:
        hidden, goal: of its instruction, (1, 20, S) and (1, G).
        stride: the student's frames are every `stride`-th one; None: only what the head needs.
    """
    frames, noise = torch.from_numpy(sample.frames), torch.from_numpy(sample.video_noise)
    features = policy.video(frames, hidden, noise[:, :: policy.frame_stride])
    tokens = policy.tokens(features)
    row = {"tokens": tokens[0].half(), "goals": goal[0]}
    if sample.proprio is not None:
        row["proprio"] = torch.from_numpy(sample.proprio[0])
    if stride is not None:
        scales = features.abs().amax(dim=(0, 1, 3, 4)).clamp_min(1e-12) / INT8
        rounded = (features[:, ::stride] / scales[:, None, None]).round().to(torch.int8)
        row |= {
            "frames": frames,
            "text_hidden": hidden[0].half(),
            "latents": policy.video.encode_images(frames).half().contiguous(),
            "features": rounded,
            "scales": scales,
        }
    return row
