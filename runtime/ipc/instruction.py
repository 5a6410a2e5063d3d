"""What the policy is to do now: in, words and from when they count; out, the same in the policy process.

A run may change them. What was seen before a change, or belongs to an earlier stretch of motion, is not acted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.rings import NewestSlot

TEXT_BYTES = 4000
INSTRUCTION = np.dtype([("text", f"S{TEXT_BYTES}"), ("episode", "<i8")])
NEVER = 2**62  # higher than any episode


@dataclass(frozen=True)
class Instruction:
    """What to do.

    Attributes:
        text: in words.
        episode: the first stretch of motion (control_contract.Stand) that it counts for; NEVER: think of nothing.
        since_ns: frames from before that are not looked at.
    """

    text: str
    episode: int = 0
    since_ns: int = 0


def write_instruction(slot: NewestSlot, instruction: Instruction) -> None:
    """Gives the policy process an instruction. Raises BadInputError for one that is too long."""
    text = instruction.text.encode()
    if len(text) > TEXT_BYTES:
        raise BadInputError(f"the instruction has {len(text)} bytes; expected at most {TEXT_BYTES}")
    slot.write(instruction.since_ns, text=text, episode=instruction.episode)


def read_instruction(slot: NewestSlot) -> Instruction | None:
    """The newest instruction, or None before the first."""
    message = slot.read(lambda record: (bytes(record["text"]), int(record["episode"])))
    if message is None:
        return None
    return Instruction(message.value[0].decode("utf-8", "replace"), message.value[1], message.stamp_ns)
