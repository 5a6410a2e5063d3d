"""Any value of any argument and any configuration gives a policy or a CheckpointError, never anything else."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_policy import SMALL

from vpp_edge.checkpoint.arguments import Arguments
from vpp_edge.checkpoint.config import PolicyConfig, policy_config
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.policy_bounds import policy_bounds
from vpp_edge.checkpoint.policy_file import load_policy_file, save_policy_file
from vpp_edge.checkpoint.policy_spec import exponential_sigmas, variant_from_arguments
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
from vpp_edge.errors import CheckpointError
from vpp_edge.model.policy import policy_from_checkpoint

SLOWEST_S = 10  # of processor time: other work on the machine does not count
FUZZED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.one_of(
    st.integers(-3, 80),
    st.sampled_from([0, -1, 2**31, 2**63, 10**400, 1e308]),
    st.floats(allow_nan=True, allow_infinity=True),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=12), st.sampled_from(["${model.width}", "1e-3"]))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)
KEYS = (
    *("model", "act_seq_len", "benchmark_name", "dataset_args", "model._target_", "model.act_window_size"),
    *("model.action_dim", "model.action_seq_len", "model.extract_layer_idx", "model.Former_depth"),
    *("model.Former_dim_head", "model.Former_heads", "model.Former_num_time_embeds", "model.latent_dim"),
    *("model.max_length", "model.noise_scheduler", "model.num_latents", "model.num_sampling_steps"),
    *("model.proprio_dim", "model.sampler_type", "model.sigma_data", "model.sigma_max", "model.sigma_min"),
    *("model.timestep", "model.use_3d_Former", "model.use_all_layer", "model.use_Former"),
    *("model.use_position_encoding", "dataset_args.action_01", "dataset_args.action_99"),
    *("dataset_args.state_01", "dataset_args.state_99"),
)
FILES = ("svd/unet", "svd/vae", "svd/scheduler", "clip", "clip/tokenizer_config.json")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint without a pickle, so that any value can be written into its arguments."""
    folder = tmp_path_factory.mktemp("fuzzed")
    write_untrained_checkpoint(folder, SMALL)
    policy = load_policy_file(folder / "policy.pt")
    save_policy_file(folder / "policy.safetensors", policy.tensors, policy.arguments)
    (folder / "policy.pt").unlink()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def trained(checkpoint: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """Shapes and arguments of the checkpoint."""
    policy = load_policy_file(checkpoint / "policy.safetensors")
    return {name: tuple(t.shape) for name, t in policy.tensors.items()}, policy.arguments


def changed(arguments: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = json.loads(json.dumps(arguments))
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[last] = value
    return result


@settings(FUZZED, max_examples=300)
@given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))
def test_arguments(trained: tuple[dict[str, tuple[int, ...]], dict[str, Any]], changes: dict[str, Any]) -> None:
    shapes, arguments = trained
    given_arguments = Arguments(changed(arguments, changes))
    try:
        variant = variant_from_arguments(given_arguments, SMALL.actions)
        config = policy_config(given_arguments, shapes, variant, text_width=32, text_positions=77)
        policy_bounds(given_arguments, variant, actions=config.head.actions, proprio=config.head.proprio)
    except CheckpointError as error:
        assert len(str(error)) < 1500
    else:
        assert isinstance(config, PolicyConfig) and 1 <= config.head.horizon <= 1000
        assert len(exponential_sigmas(config.sampler)) == config.sampler.steps + 1


@settings(FUZZED, max_examples=30)
@given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2))
def test_arguments_in_a_file(checkpoint: Path, trained: tuple[Any, dict[str, Any]], changes: dict[str, Any]) -> None:
    path = checkpoint / "policy.safetensors"
    before, policy = path.read_bytes(), load_policy_file(path)
    save_policy_file(path, policy.tensors, changed(trained[1], changes))
    try:
        read_or_refuse(checkpoint)
    finally:
        path.write_bytes(before)


@settings(FUZZED, max_examples=70)
@given(data=st.data(), value=VALUES)
def test_configurations(checkpoint: Path, data: st.DataObject, value: Any) -> None:
    place = data.draw(st.sampled_from(FILES))
    names = {"svd/scheduler": "scheduler_config.json", "clip/tokenizer_config.json": ""}
    path = checkpoint / place / names.get(place, "config.json")
    before = path.read_text()
    config = json.loads(before)
    key = data.draw(st.sampled_from(sorted(config)))
    path.write_text(json.dumps(config | {key: value}))
    try:
        read_or_refuse(checkpoint)
    finally:
        path.write_text(before)


def read_or_refuse(folder: Path) -> None:
    """A whole policy that computes, or a CheckpointError that is short enough to be read."""
    started = time.process_time()
    try:
        checkpoint = read_checkpoint(paths_from_folder(folder))
    except CheckpointError as error:
        assert len(str(error).splitlines()[0]) < 1500
    else:
        policy_from_checkpoint(checkpoint)
    assert time.process_time() - started < SLOWEST_S
