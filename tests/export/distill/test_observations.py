"""Rows of the teacher's outputs, in any order, from shards that are opened once each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vpp_edge.export.distill import observations
from vpp_edge.export.distill.teacher import SHARD


def test_rows_come_in_the_order_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, opened = np.arange(SHARD + 5, dtype=np.float32), []
    files = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    for file, part in zip(files, (numbers[:SHARD], numbers[SHARD:]), strict=True):
        save_file({"number": part, "twice": np.stack([part, part], axis=1)}, file)
    safe_open = observations.safe_open

    def counted(file: Path, **options: Any) -> Any:
        opened.append(file)
        return safe_open(file, **options)

    monkeypatch.setattr(observations, "safe_open", counted)
    asked = [SHARD + 1, 0, 3, SHARD + 1, SHARD, 15]
    rows = observations.Observations(files=tuple(files), count=len(numbers), seed=0).rows(asked, ("twice", "number"))
    assert rows["number"].tolist() == asked and rows["twice"].tolist() == [[n, n] for n in asked]
    assert sorted(opened) == files
