"""The instruction that the policy follows, and for which episode and frames it counts.

A run may change it. Frames from before a change, and chunks of an earlier episode, are not acted on.
"""

from __future__ import annotations

from dataclasses import dataclass

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.dtypes import INSTRUCTION_BYTES
from vpp_edge.runtime.ipc.rings.newest import NewestSlot

NEVER = 2**62  # higher than any episode


@dataclass(frozen=True)
class Instruction:
    """What to do.

    Attributes:
        text: the instruction.
        episode: first episode (`LoopState.episode`) that it counts for; NEVER pauses the policy.
        since_ns: frames from before this time are not used.
    """

    text: str
    episode: int = 0
    since_ns: int = 0


def write_instruction(slot: NewestSlot, instruction: Instruction) -> None:
    """Gives the policy process an instruction. Raises BadInputError for one that is too long."""
    text = instruction.text.encode()
    if len(text) > INSTRUCTION_BYTES:
        raise BadInputError(f"the instruction has {len(text)} bytes; expected at most {INSTRUCTION_BYTES}")
    slot.write(instruction.since_ns, text=text, episode=instruction.episode)


def read_instruction(slot: NewestSlot) -> Instruction | None:
    """The newest instruction, or None before the first."""
    message = slot.read(lambda record: (bytes(record["text"]), int(record["episode"])))
    if message is None:
        return None
    text, episode = message.value
    return Instruction(text=text.decode("utf-8", "replace"), episode=episode, since_ns=message.stamp_ns)
