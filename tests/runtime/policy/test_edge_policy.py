"""EdgePolicy's face: what it checks, what it draws, and what it says when something is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpp_edge import EdgePolicy
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError, BundleError, HardwareFaultError
from vpp_edge.runtime.policy import edge_policy
from vpp_edge.runtime.policy.engines.registry import backend_names


@pytest.fixture(scope="module")
def policy(small_bundle: Path) -> Iterator[EdgePolicy]:
    with EdgePolicy.load(small_bundle, seed=0, threads=2) as policy:
        policy.instruct("Move the mango to the basket.")
        yield policy


@pytest.fixture(scope="module")
def observation(policy: EdgePolicy) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "frames": random.integers(0, 256, policy.spec.frames_shape, dtype=np.uint8),
        "proprio": random.uniform(-1, 1, 19).astype(np.float32),
        "video_noise": random.standard_normal(policy.spec.video_noise_shape, dtype=np.float32),
        "action_noise": random.standard_normal((1, *policy.spec.chunk_shape), dtype=np.float32),
    }


def test_an_inference_has_the_shapes_that_are_promised(policy: EdgePolicy, observation: dict[str, Any]) -> None:
    out = policy.infer(**observation)
    assert (out.tokens.shape, out.tokens.dtype) == ((1, *policy.spec.tokens), np.float32)
    assert (out.actions.shape, out.actions.dtype) == ((1, *policy.spec.chunk_shape), np.float32)
    assert np.isfinite(out.actions).all()
    assert all(ns > 0 for ns in out.timings_ns.values())


def test_a_policy_acts_again_on_the_tokens_it_has(policy: EdgePolicy, observation: dict[str, Any]) -> None:
    out, noise = policy.infer(**observation), observation["action_noise"]
    np.testing.assert_array_equal(policy.act(out.tokens, observation["proprio"], action_noise=noise), out.actions)
    moved = policy.act(out.tokens, -observation["proprio"], action_noise=noise)
    assert moved.shape == out.actions.shape and np.abs(moved - out.actions).max() > 1e-5


def test_a_policy_acts_while_it_perceives(policy: EdgePolicy, observation: dict[str, Any]) -> None:
    out, seen = policy.infer(**observation), {name: observation[name] for name in ("frames", "video_noise")}
    moving = {name: observation[name] for name in ("proprio", "action_noise")}
    with ThreadPoolExecutor(1) as beside:
        looks = [beside.submit(policy.perceive, **seen) for _ in range(4)]
        while not looks[-1].done():
            np.testing.assert_array_equal(policy.act(out.tokens, **moving), out.actions)
    assert all((look.result() == out.tokens).all() for look in looks)


def test_the_same_noise_gives_the_same_actions(policy: EdgePolicy, observation: dict[str, Any]) -> None:
    np.testing.assert_array_equal(policy.infer(**observation).actions, policy.infer(**observation).actions)


def test_noise_is_drawn_from_the_seed(small_bundle: Path, observation: dict[str, Any]) -> None:
    def actions(seed: int | None) -> np.ndarray:
        policy = EdgePolicy.load(small_bundle, seed=seed)
        policy.instruct("turn")
        return policy.infer(observation["frames"], observation["proprio"]).actions

    first = actions(1)
    np.testing.assert_array_equal(first, actions(1))
    assert np.abs(first - actions(2)).max() > 1e-4
    assert np.abs(first - actions(None)).max() > 1e-4


def test_the_instruction_matters_and_must_be_given(
    small_bundle: Path, policy: EdgePolicy, observation: dict[str, Any]
) -> None:
    silent = EdgePolicy.load(small_bundle)
    with pytest.raises(BadInputError, match=r"call instruct\(\) first"):
        silent.infer(**observation)
    silent.instruct("open the drawer")
    assert np.abs(silent.infer(**observation).actions - policy.infer(**observation).actions).max() > 1e-6


def test_proprio_may_be_flat_or_shaped_as_the_stage_takes_it(policy: EdgePolicy, observation: dict[str, Any]) -> None:
    shaped = observation | {"proprio": observation["proprio"].reshape(1, 1, 19)}
    np.testing.assert_array_equal(policy.infer(**observation).actions, policy.infer(**shaped).actions)


WRONG: list[tuple[str, Any, str]] = [
    ("frames", np.zeros((2, 64, 64, 3), np.float32), "frames must be uint8"),
    ("frames", np.zeros((2, 63, 64, 3), np.uint8), "frames must be uint8"),
    ("frames", np.zeros((2, 64, 64, 3)), "frames must be uint8 .*, got float64"),
    ("frames", [[0]], "frames must be uint8 .*, got list"),
    ("proprio", None, "this policy needs proprio"),
    ("proprio", np.zeros(18, np.float32), "proprio must be float32"),
    ("proprio", np.zeros(19, np.int64), "proprio must be float32 .*, got int64"),
    ("proprio", np.full(19, np.nan, np.float32), "proprio holds NaN or infinity"),
    ("video_noise", np.zeros((1, 2), np.float32), "video_noise must be float32"),
    ("action_noise", np.zeros((1, 4, 17), np.float32), "action_noise must be float32"),
    ("action_noise", np.full((1, 4, 18), np.inf, np.float32), "action_noise holds NaN or infinity"),
]


@pytest.mark.parametrize(("name", "wrong", "said"), WRONG)
def test_wrong_inputs_are_refused_by_name(
    policy: EdgePolicy, observation: dict[str, Any], name: str, wrong: Any, said: str
) -> None:
    with pytest.raises(BadInputError, match=said):
        policy.infer(**observation | {name: wrong})


def test_other_floats_are_taken_as_float32(policy: EdgePolicy, observation: dict[str, Any]) -> None:
    wider = observation | {"proprio": observation["proprio"].astype(np.float64)}
    np.testing.assert_array_equal(policy.infer(**observation).actions, policy.infer(**wider).actions)


@pytest.mark.parametrize(("name", "shape"), [("prefix", (1, 4, 17)), ("prefix_weight", (4,))])
def test_a_wrong_prefix_is_refused(
    policy: EdgePolicy, observation: dict[str, Any], name: str, shape: tuple[int, ...]
) -> None:
    tokens = np.zeros((1, *policy.spec.tokens), np.float32)
    wrong: dict[str, Any] = {name: np.zeros(shape, np.float32)}
    with pytest.raises(BadInputError, match=f"{name} must be float32"):
        policy.act(tokens, observation["proprio"], **wrong)


def test_a_camera_s_picture_goes_through_to_actions(policy: EdgePolicy) -> None:
    images = [np.full((48, 64, 3), 90, np.uint8), np.full((200, 100, 3), 20, np.uint8)]
    state = np.linspace(-1, 1, 19)
    actions = policy.infer(policy.prepare(images), policy.normalize_state(state)).actions
    assert policy.denormalize(actions[0], state).shape == policy.spec.chunk_shape


def test_unknown_backends_are_named_with_the_known_ones(small_bundle: Path) -> None:
    assert {"onnxruntime", "torch"} <= set(backend_names())
    with pytest.raises(BadInputError, match=r"unknown backend 'coreml'; installed: .*onnxruntime.*torch"):
        EdgePolicy.load(small_bundle, "coreml")


def test_the_eager_backend_wants_the_policy_that_was_exported(
    small_bundle: Path, small_copy: Path, tmp_path: Path
) -> None:
    eager = EdgePolicy.load(small_bundle, "torch", checkpoint=small_copy)
    eager.instruct("turn")
    chunk = np.zeros((1, *eager.spec.chunk_shape), np.float32)
    tokens, weight = np.zeros((1, *eager.spec.tokens), np.float32), np.ones((1, 4), np.float32)
    with pytest.raises(BadInputError, match="the eager baseline has no prefix"):
        eager.act(tokens, np.zeros(19, np.float32), action_noise=chunk, prefix=chunk, prefix_weight=weight)

    with (small_copy / "policy.pt").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BadInputError, match=r"is not the policy that .* was exported from"):
        EdgePolicy.load(small_bundle, "torch", checkpoint=small_copy)
    with pytest.raises(BadInputError, match="no such folder"):
        EdgePolicy.load(small_bundle, "torch", checkpoint=tmp_path / "nowhere")


def test_a_damaged_tokenizer_is_an_error_of_the_bundle() -> None:
    from vpp_edge.runtime.policy.tokenizer import InstructionTokenizer

    for definition in (b"{}", b"\xff", b""):
        with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read"):
            InstructionTokenizer(definition, 0)


class CountingEngine:
    """Counts how often it is closed; may fail to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed, self._error = 0, error

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"text_hidden": np.zeros(1), "goal": np.zeros(1)}

    def close(self) -> None:
        self.closed += 1
        if self._error is not None:
            raise self._error


def counting_engines(error: Exception | None = None) -> dict[str, CountingEngine]:
    return {"text": CountingEngine(), "perceive": CountingEngine(error), "act": CountingEngine()}


def test_a_closed_policy_has_closed_its_engines_once_and_says_that_it_is_closed(small_bundle: Path) -> None:
    engines = counting_engines()
    with EdgePolicy(Bundle(small_bundle), engines) as policy:
        policy.instruct("turn")
    policy.close()
    assert [engine.closed for engine in engines.values()] == [1, 1, 1]
    with pytest.raises(BadInputError, match="this policy is closed"):
        policy.instruct("turn")


def test_an_engine_that_cannot_be_closed_does_not_keep_the_others_open(small_bundle: Path) -> None:
    engines = counting_engines(HardwareFaultError("cudaFree failed"))
    with pytest.raises(HardwareFaultError, match="cudaFree"):
        EdgePolicy(Bundle(small_bundle), engines).close()
    assert [engine.closed for engine in engines.values()] == [1, 1, 1]


def test_the_first_error_is_not_hidden_by_that_of_closing(small_bundle: Path) -> None:
    engines = counting_engines(HardwareFaultError("cudaFree failed"))
    with pytest.raises(BundleError, match="first"), EdgePolicy(Bundle(small_bundle), engines):
        raise BundleError("first")


def test_a_policy_that_cannot_be_made_closes_its_engines(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = counting_engines()
    monkeypatch.setattr(edge_policy, "open_engines", lambda *_: engines)

    def reject(*_: object) -> None:
        raise BundleError("no tokenizer")

    monkeypatch.setattr(edge_policy, "InstructionTokenizer", reject)
    with pytest.raises(BundleError, match="no tokenizer"):
        EdgePolicy.load(small_bundle)
    assert [engine.closed for engine in engines.values()] == [1, 1, 1]


def test_every_backend_s_engines_can_be_closed_twice(small_bundle: Path, small_copy: Path) -> None:
    for policy in (EdgePolicy.load(small_bundle), EdgePolicy.load(small_bundle, "torch", checkpoint=small_copy)):
        engines = list(policy._engines.values())
        policy.close()
        for engine in engines:
            engine.close()


def test_the_policy_is_importable_from_the_package_and_from_its_room() -> None:
    import vpp_edge
    import vpp_edge.runtime.policy

    assert vpp_edge.EdgePolicy is vpp_edge.runtime.policy.EdgePolicy is EdgePolicy
