"""Copies of a checkpoint or bundle with one thing changed: in, a folder and a change; out, the changed folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file


def edit_policy(checkpoint: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> None:
    """Applies `change(tensors, arguments)` to policy.pt; arguments are plain values, interpolations unresolved."""
    path = checkpoint / "policy.pt"
    content = torch.load(path, weights_only=False)
    arguments = OmegaConf.to_container(content["args"])
    change(content["model"], arguments)
    torch.save({"model": content["model"], "args": OmegaConf.create(arguments)}, path)


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
