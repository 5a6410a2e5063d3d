"""Read what the teacher made of the observations: in, the shards of `teacher`; out, columns of all or of some rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vpp_edge.export.distill.head import Seen
from vpp_edge.export.distill.teacher import SHARD
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.sample import draw_noise


@dataclass(frozen=True)
class Observations:
    """Rows of shards; never more of them in memory than are asked for.

    Attributes:
        files: the shards, in order.
        count: rows in all.
        seed: of the noise.
    """

    files: tuple[Path, ...]
    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def rows(self, chosen: Sequence[int], names: Sequence[str]) -> dict[str, Tensor]:
        """Columns `names` of the rows `chosen`, (B, ...) each."""
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(chosen):
            places[row // SHARD].append(place)
        found: dict[tuple[str, int], Tensor] = {}
        for shard, here in places.items():
            with safe_open(self.files[shard], framework="pt") as opened:
                for name in names:
                    column = opened.get_slice(name)
                    found |= {(name, place): column[chosen[place] % SHARD] for place in here}
        return {name: torch.stack([found[name, place] for place in range(len(chosen))]) for name in names}

    def noise(self, chosen: Sequence[int], spec: PolicySpec, stride: int = 1) -> tuple[Tensor, Tensor]:
        """The teacher's float32 noise of these rows: of every `stride`-th frame, (B, V, F', 4, h, w), and (B, T, A)."""
        drawn = [draw_noise(spec, np.random.default_rng((self.seed, row))) for row in chosen]
        video, actions = (np.stack(each) for each in zip(*drawn, strict=True))
        return torch.from_numpy(video[:, :, ::stride]), torch.from_numpy(actions[:, 0])

    def parts(self) -> list[range]:
        """The rows of each shard."""
        return [range(first, min(first + SHARD, self.count)) for first in range(0, self.count, SHARD)]

    def seen(self, spec: PolicySpec) -> Iterator[Seen]:
        """What the teacher's head sees, shard by shard."""
        for part in self.parts():
            rows = self.rows(part, head_columns(spec))
            yield Seen(tokens=rows["tokens"], goals=rows["goals"], proprio=rows.get("proprio"))


def head_columns(spec: PolicySpec) -> tuple[str, ...]:
    """Names of what the action head sees."""
    return ("tokens", "goals", *(("proprio",) if spec.state else ()))
