"""A policy with harmless objects in its arguments is refused with a command that saves it as plain values."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.checkpoint.resave import resave_script
from vpp_edge.errors import CheckpointError

VALUES = {"model": {"action_dim": 18, "sigma_data": 0.5, "out": "/runs/1", "widths": [1, 2]}, "act_seq_len": 10}
ARGUMENTS: dict[str, Any] = {
    "numpy scalars": {"model": {**VALUES["model"], "action_dim": np.int64(18), "sigma_data": np.float64(0.5)}},
    "a path": {"model": {**VALUES["model"], "out": Path("/runs/1")}},
    "an array": {"model": {**VALUES["model"], "widths": np.array([1, 2])}},
    "a Namespace": argparse.Namespace(model=argparse.Namespace(**VALUES["model"]), act_seq_len=10),
    "a config in a dict": {"model": OmegaConf.create(VALUES["model"]), "path": Path("x")},
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_the_command_of_the_error_makes_a_file_that_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it's a policy.pt"  # a quote and a space, for the shell
    torch.save({"model": {"a": torch.ones(2)}, "args": ARGUMENTS[kind]}, path)
    with pytest.raises(CheckpointError, match="Nothing of it was executed") as error:
        load_policy_file(path)
    _, _, command = str(error.value).partition("\npython -c ")
    done = subprocess.run(f"{sys.executable} -c {command}", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plain = load_policy_file(tmp_path / "it's a policy.plain.pt")
    assert torch.equal(plain.tensors["a"], torch.ones(2))
    assert plain.arguments["model"] == VALUES["model"]


def test_a_whole_module_is_saved_as_its_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    torch.save({"model": torch.nn.Linear(2, 3), "args": {"model": {}}}, path)
    with pytest.raises(CheckpointError, match="send it to its author"):
        load_policy_file(path)
    exec(resave_script(path), {})
    assert set(load_policy_file(tmp_path / "policy.plain.pt").tensors) == {"weight", "bias"}
