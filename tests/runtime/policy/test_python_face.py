"""Arguments of any type from Python: an error of ours that names the argument, what was expected and what came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpp_edge import EdgePolicy
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.runtime.cameras.config import CameraConfig, camera_from_text
from vpp_edge.runtime.hands.kinds import hand_from_text
from vpp_edge.runtime.policy.scripted import ScriptedPolicy
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.wording import counted

JUNK: list[Any] = [
    None, True, 5, -1, 10**5000, float("nan"), 1j, "", "x", "\udc80", b"x", [], [1], [[1, 2], [3]], (), {}, {"a": 1},
    set(), iter([]), object(), int, np.zeros(3), np.array("x"), np.array([None]), np.zeros((2, 2), complex),
    [None] * 19, ["a"] * 19, [10**400] * 19, np.full(19, np.nan), np.full(19, np.inf), np.zeros((1, 1, 18)),
    np.zeros(19, bool), np.zeros((4, 18), complex), np.datetime64("2026-01-01"),
]  # fmt: skip


@pytest.fixture(scope="module")
def policy(small_bundle: Path) -> Iterator[EdgePolicy]:
    with EdgePolicy.load(small_bundle, seed=0, threads=1) as policy:
        policy.instruct("turn")
        yield policy


def calls(policy: EdgePolicy) -> dict[str, Callable[[Any], object]]:
    """Every argument of the Python face: a call with this one free, and all others right."""
    spec, bundle = policy.spec, policy.bundle.path
    frames, proprio = np.zeros(spec.frames_shape, np.uint8), np.zeros(19, np.float32)
    tokens, actions = np.zeros((1, *spec.tokens), np.float32), np.zeros(spec.chunk_shape)
    image = np.zeros((48, 64, 3), np.uint8)
    return {
        "the instruction": policy.instruct,
        "frames": lambda junk: policy.infer(junk, proprio),
        "proprio": lambda junk: policy.infer(frames, junk),
        "video_noise": lambda junk: policy.infer(frames, proprio, video_noise=junk),
        "action_noise": lambda junk: policy.infer(frames, proprio, action_noise=junk),
        "prefix": lambda junk: policy.act(tokens, proprio, prefix=junk),
        "prefix_weight": lambda junk: policy.act(tokens, proprio, prefix_weight=junk),
        "tokens": lambda junk: policy.act(junk, proprio),
        "image": policy.prepare,
        "image ": lambda junk: policy.prepare([image, junk]),
        "state": policy.normalize_state,
        "actions": policy.denormalize,
        "actions ": policy.normalize_actions,
        "state ": lambda junk: policy.denormalize(actions, junk),
        "state  ": lambda junk: policy.normalize_actions(actions, junk),
        "bundle": EdgePolicy.load,
        "backend": lambda junk: EdgePolicy.load(bundle, junk),
        "threads": lambda junk: EdgePolicy.load(bundle, threads=junk),
        "seed": lambda junk: EdgePolicy.load(bundle, seed=junk),
        "checkpoint": lambda junk: EdgePolicy.load(bundle, checkpoint=junk),
        "provider": lambda junk: EdgePolicy.load(bundle, provider=junk),
    }


MAY_BE_LEFT_OUT = {
    "video_noise", "action_noise", "prefix", "prefix_weight", "state ", "state  ", "threads", "seed", "checkpoint",
    "provider",
}  # fmt: skip
RIGHT: dict[str, list[Any]] = {
    "the instruction": ["x"], "threads": [5], "seed": [5], "checkpoint": ["", "x", "\udc80"],
}  # fmt: skip


NAMES = (
    "the instruction", "frames", "proprio", "video_noise", "action_noise", "prefix", "prefix_weight", "tokens", "image",
    "image ", "state", "actions", "actions ", "state ", "state  ", "bundle", "backend", "threads", "seed", "checkpoint",
    "provider",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_type_of_an_argument_is_taken_or_refused_by_name(policy: EdgePolicy, name: str) -> None:
    call = calls(policy)[name]
    for junk in JUNK:
        right = any(junk is each or (type(junk) is type(each) and junk == each) for each in RIGHT.get(name, []))
        if right or (junk is None and name in MAY_BE_LEFT_OUT):
            call(junk)
            continue
        with pytest.raises(BadInputError) as refused:
            call(junk)
        said = str(refused.value)
        assert name.strip() in said or isinstance(refused.value, BundleError), said
        assert len(said) < 400 and "\n" not in said.strip(), said


def test_missing_and_extra_views(policy: EdgePolicy) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    for count in (0, 1, 3):
        with pytest.raises(BadInputError, match=rf"got {counted(count, 'image')}, expected 2 \(static, wrist\)"):
            policy.prepare([image] * count)
        shape = (count, *policy.spec.frames_shape[1:])
        with pytest.raises(BadInputError, match=rf"frames must be uint8 \(2, .*, got uint8 \({count}, "):
            policy.infer(np.zeros(shape, np.uint8), np.zeros(19, np.float32))


@pytest.mark.parametrize("junk", [None, 5, b"x", ["x"], "", " \n", "\udc80"])
def test_every_face_takes_the_same_instructions(policy: EdgePolicy, junk: Any) -> None:
    for take in (policy.instruct, policy.text_inputs, ScriptedPolicy({}).instruct, session_with("instruction")):
        with pytest.raises(BadInputError, match="the instruction"):
            take(junk)
    policy.instruct("turn")


def session_with(name: str) -> Callable[[Any], object]:
    """A configuration of a run with this argument free."""
    right: dict[str, Any] = {
        "bundle": "b",
        "cameras": (CameraConfig("realsense"),),
        "hand": None,
        "instruction": "turn",
    }
    return lambda junk: SessionConfig(**{**right, name: junk})


SESSION = (
    "bundle", "cameras", "backend", "provider", "threads", "seed", "arm", "rate_hz", "start_s", "duration_s",
    "log_frames_hz", "control_cpu", "chunking", "policy_silent_s",
)  # fmt: skip


@pytest.mark.parametrize("name", SESSION)
def test_a_run_s_configuration_names_what_is_wrong(name: str) -> None:
    for junk in ([1], {"a": 1}, object(), b"x", float("nan"), 10**5000):
        with pytest.raises(BadInputError, match=name):
            session_with(name)(junk)


@pytest.mark.parametrize("junk", [None, 5, b"sim", ["sim"], np.zeros(3), "", "?"])
def test_cameras_and_hands_are_named_by_text(junk: Any) -> None:
    with pytest.raises(BadInputError, match="hand"):
        hand_from_text(junk)
    with pytest.raises(BadInputError, match="camera"):
        camera_from_text(junk)
