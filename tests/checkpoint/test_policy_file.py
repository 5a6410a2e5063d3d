"""A policy without pickle is read like one with it, and damaged files are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_file import load_policy_file, save_policy_file
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.errors import CheckpointError


def test_a_checkpoint_with_safetensors_is_the_same_checkpoint(small_copy: Path) -> None:
    before = read_checkpoint(paths_from_folder(small_copy))
    policy = load_policy_file(small_copy / "policy.pt")
    save_policy_file(small_copy / "policy.safetensors", policy.tensors, policy.arguments)
    (small_copy / "policy.pt").unlink()
    after = read_checkpoint(paths_from_folder(small_copy))
    assert after.spec == before.spec and after.config == before.config
    assert all(torch.equal(after.head[name], tensor) for name, tensor in before.head.items())


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    save_policy_file(tmp_path / "policy.safetensors", {"a": torch.ones(2, dtype=torch.float16)}, {"model": {}})
    policy = load_policy_file(tmp_path / "policy.safetensors")
    assert policy.tensors["a"].dtype == torch.float32 and policy.arguments == {"model": {}}


@pytest.mark.parametrize("args", [None, "no json", json.dumps([1])])
def test_a_file_without_arguments_is_refused(tmp_path: Path, args: str | None) -> None:
    path = tmp_path / "policy.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata=None if args is None else {"args": args})
    with pytest.raises(CheckpointError, match="args"):
        load_policy_file(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    save_policy_file(path, {"a": torch.ones(2)}, {})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"policy\.safetensors"):
        load_policy_file(path)
