"""Untrusted policy.pt: code is refused without running it, and damage is distinguished from malice."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from vpp_edge.checkpoint.policy_file import load_policy_file
from vpp_edge.checkpoint.safe_pickle import load_policy_pickle
from vpp_edge.errors import CheckpointError

GOOD_MODEL = {"Video_Former.norm.weight": torch.ones(3)}


class Runs:
    """Its pickle calls `function(*arguments)` when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class WithState:
    """Its pickle calls __setstate__ of an attacker's class."""

    def __getstate__(self) -> dict[str, Any]:
        return {"a": 1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(os.environ["VPP_EDGE_TEST_MARKER"]).touch()


def shell(marker: Path) -> Runs:
    return Runs(os.system, f"touch {marker}")


PLACES: dict[str, Callable[[Any], Any]] = {
    "whole file": lambda bomb: bomb,
    "model": lambda bomb: {"model": bomb, "args": {"model": {}}},
    "instead of a tensor": lambda bomb: {"model": GOOD_MODEL | {"x": bomb}, "args": {"model": {}}},
    "args": lambda bomb: {"model": GOOD_MODEL, "args": bomb},
    "inside args": lambda bomb: {"model": GOOD_MODEL, "args": {"model": {"latent_dim": bomb}}},
    "inside omegaconf args": lambda bomb: {
        "model": GOOD_MODEL,
        "args": OmegaConf.create({"model": {"x": bomb}}, flags={"allow_objects": True}),
    },
    "beside": lambda bomb: {"model": GOOD_MODEL, "args": {"model": {}}, "optimizer": bomb},
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", PLACES)
def test_a_command_in_the_pickle_is_refused_and_not_run(place: str, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "policy.pt"
    torch.save(PLACES[place](shell(marker)), path, pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=r"policy\.pt: refused") as error:
        load_policy_pickle(path)
    assert "Nothing of it was executed" in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda marker: Runs(exec, f"open({str(marker)!r}, 'w')"),
        lambda marker: Runs(eval, f"open({str(marker)!r}, 'w')"),
        lambda marker: Runs(getattr, "text", "upper"),
        lambda marker: Runs(torch.load, str(marker)),
        lambda marker: Runs(torch.hub.load, "attacker/repository", "model"),
        lambda marker: Runs(open, str(marker), "w"),
        lambda marker: Runs(Path, str(marker)),
    ],
    ids=["exec", "eval", "getattr", "torch.load", "torch.hub.load", "open", "pathlib.Path"],
)
def test_any_other_callable_is_refused(call: Callable[[Path], Runs], tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "policy.pt"
    torch.save({"model": GOOD_MODEL | {"x": call(marker)}, "args": {}}, path)
    with pytest.raises(CheckpointError, match="refused"):
        load_policy_pickle(path)
    assert not marker.exists()


def test_a_class_with_its_own_setstate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker, path = tmp_path / "marker", tmp_path / "policy.pt"
    monkeypatch.setenv("VPP_EDGE_TEST_MARKER", str(marker))
    content = {"model": GOOD_MODEL, "args": {"model": WithState()}}
    monkeypatch.setattr(WithState, "__module__", "os")  # a name that exists everywhere
    monkeypatch.setattr(os, "WithState", WithState, raising=False)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="refused"):
        load_policy_pickle(path)
    assert not marker.exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "policy.pt"
    path.write_bytes(pickle.dumps({"model": shell(marker)}))
    with pytest.raises(CheckpointError):
        load_policy_pickle(path)
    assert not marker.exists()


def test_the_files_of_older_torch_are_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    torch.save({"model": GOOD_MODEL, "args": {"model": {"a": 1}}}, path, _use_new_zipfile_serialization=False)
    policy = load_policy_file(path)
    assert torch.equal(policy.tensors["Video_Former.norm.weight"], torch.ones(3))
    assert policy.arguments == {"model": {"a": 1}}


def test_omegaconf_arguments_become_plain_values(tmp_path: Path) -> None:
    values = {
        "model": {"a": 1, "b": "${c}", "d": [1.5, None, {"e": "x"}], "f": True, "g": "${oc.env:HOME}"},
        "c": 3,
    }
    path = tmp_path / "policy.pt"
    torch.save({"model": GOOD_MODEL, "args": OmegaConf.create(values)}, path)
    assert load_policy_file(path).arguments == values


@pytest.mark.parametrize("keep", [1, 100, 0.5, 0.99])
def test_a_truncated_file_is_said_to_be_truncated(small_checkpoint: Path, keep: float, tmp_path: Path) -> None:
    whole = (small_checkpoint / "policy.pt").read_bytes()
    path = tmp_path / "policy.pt"
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(CheckpointError, match=r"policy\.pt: .*(truncated or not a PyTorch file|holds more than)"):
        load_policy_pickle(path)


def test_a_damaged_archive_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    """The archive's list of files stays, one storage is cut out."""
    path = tmp_path / "policy.pt"
    with zipfile.ZipFile(small_checkpoint / "policy.pt") as whole, zipfile.ZipFile(path, "w") as left:
        for name in whole.namelist():
            if not name.endswith("/data/0"):
                left.writestr(name, whole.read(name))
    with pytest.raises(CheckpointError, match="truncated or not a PyTorch file"):
        load_policy_pickle(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD_MODEL, "expected a dict with `model`.*got a bare state dict of 1 tensors"),
        ({"model": GOOD_MODEL}, "got a dict with 'model'"),
        ([1, 2], "got a list"),
        ({"model": {"a": 3}, "args": {}}, "not a state dict"),
        ({"model": GOOD_MODEL, "args": [1]}, "`args` is a list"),
    ],
)
def test_other_content_is_named(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=said):
        load_policy_file(path)
