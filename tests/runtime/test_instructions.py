"""An instruction reaches the policy whole, and nothing from before it is acted on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.instructions import NEVER, TEXT_BYTES, Instruction, read_instruction, write_instruction
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.messages import Channels, write_frame
from vpp_edge.runtime.policy_worker import PolicySettings, PolicyWorker
from vpp_edge.runtime.scripted_policy import ScriptedPolicy


@pytest.fixture
def channels():
    channels = Channels.create(("static", "wrist"), 8, 10)
    yield channels
    channels.close()


@pytest.mark.parametrize("text", ["press the red button", "drücke", ""])
def test_an_instruction_arrives_whole(channels: Channels, text: str) -> None:
    assert read_instruction(channels.instruction) is None
    write_instruction(channels.instruction, Instruction(text, 7, 12))
    assert read_instruction(channels.instruction) == Instruction(text, 7, 12)


def test_a_text_that_does_not_fit_is_refused(channels: Channels) -> None:
    with pytest.raises(BadInputError, match=f"at most {TEXT_BYTES}"):
        write_instruction(channels.instruction, Instruction("ü" * (TEXT_BYTES // 2 + 1)))


class Listening(ScriptedPolicy):
    """Remembers what it was told."""

    def instruct(self, text: str) -> None:
        self.told = [*getattr(self, "told", []), text]


def chunk_after(channels: Channels, worker: PolicyWorker, episode: int) -> int | None:
    """The episode of the chunk that new frames lead to while the loop is in `episode`; None: there is no chunk."""
    now_ns = time.monotonic_ns()
    channels.states.write(
        now_ns, vector=np.eye(10)[6], command=np.zeros(10), scene=np.zeros(0), episode=episode, request=-1,
        resting_since_ns=0,
    )  # fmt: skip
    for camera in channels.cameras:
        write_frame(camera.frames, Frame(np.zeros((64, 64, 3), np.uint8), 1, now_ns))
    worker.step()
    taken = np.zeros(1, channels.chunks.dtype)
    return int(taken[0]["episode"]) if channels.chunks.take_into(taken) else None


def test_the_policy_waits_for_the_episode_and_the_frames_of_its_instruction(channels: Channels) -> None:
    policy = Listening({"latency_ms": 0, "joints": 3})
    settings = PolicySettings("", "scripted", None, 1, 0, 0, (0, 0), None)
    worker = PolicyWorker(policy, settings, channels, 0)
    assert chunk_after(channels, worker, 1) is None, "nothing to do yet"
    write_instruction(channels.instruction, Instruction("press the red button"))
    assert chunk_after(channels, worker, 1) == 1
    write_instruction(channels.instruction, Instruction("press the red button", NEVER))
    assert chunk_after(channels, worker, 2) is None
    write_instruction(channels.instruction, Instruction("press the blue button", 3))
    assert chunk_after(channels, worker, 2) is None, "the loop is not there yet"
    assert chunk_after(channels, worker, 3) == 3
    write_instruction(channels.instruction, Instruction("press the blue button", 3, time.monotonic_ns() + 10**10))
    assert chunk_after(channels, worker, 3) is None, "these frames show the world as it was"
    assert policy.told == ["press the red button", "press the blue button"]
