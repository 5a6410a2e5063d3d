"""An instruction reaches the policy whole, and nothing from before it is acted on."""

from __future__ import annotations

import time

import pytest
from worker_under_test import DIMS, HORIZON, next_chunk, settings

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.dtypes import INSTRUCTION_BYTES
from vpp_edge.runtime.ipc.instruction import NEVER, Instruction, read_instruction, write_instruction
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.policy.scripted import ScriptedPolicy
from vpp_edge.runtime.policy.worker import PolicyWorker


@pytest.fixture
def channels():
    channels = Channels.create(("static", "wrist"), HORIZON, DIMS)
    yield channels
    channels.close()


@pytest.mark.parametrize("text", ["press the red button", "drücke", ""])
def test_an_instruction_arrives_whole(channels: Channels, text: str) -> None:
    assert read_instruction(channels.instruction) is None
    write_instruction(channels.instruction, Instruction(text, 7, 12))
    assert read_instruction(channels.instruction) == Instruction(text, 7, 12)


def test_a_text_that_does_not_fit_is_refused(channels: Channels) -> None:
    with pytest.raises(BadInputError, match=f"at most {INSTRUCTION_BYTES}"):
        write_instruction(channels.instruction, Instruction("ü" * (INSTRUCTION_BYTES // 2 + 1)))


class Listening(ScriptedPolicy):
    """Remembers what it was told."""

    def instruct(self, text: str) -> None:
        self.told = [*getattr(self, "told", []), text]


def chunk_after(channels: Channels, worker: PolicyWorker, episode: int) -> int | None:
    """The episode of the chunk that new frames lead to while the loop is in `episode`; None: there is no chunk."""
    chunk = next_chunk(channels, worker, LoopState(episode))
    return None if chunk is None else int(chunk["episode"])


def test_the_policy_waits_for_the_episode_and_the_frames_of_its_instruction(channels: Channels) -> None:
    policy = Listening({"latency_ms": 0, "joints": 3})
    worker = PolicyWorker(policy, settings("rtc"), channels, 0)
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
