"""Values of the runtime to and from the records of `dtypes`, by way of the rings that carry them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.interfaces import Chunk, Frame, HandState
from vpp_edge.runtime.ipc.dtypes import LOOP_STATE_FIELDS, STAGE_SLOTS
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.ipc.rings.newest import Message, NewestSlot


def write_frame(slot: NewestSlot, frame: Frame) -> None:
    """Publishes a camera's frame.

    Raises:
        BadInputError: the image is not uint8 RGB, or larger than the camera was asked for.
    """
    image, most = frame.image, slot.dtype["pixels"].itemsize
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size > most:
        raise BadInputError(
            f"a camera gave a {image.dtype} image of shape {image.shape}; expected uint8 RGB (height, width, 3) "
            f"of at most {most} bytes"
        )
    record = slot.begin()
    record["height"], record["width"], record["number"] = image.shape[0], image.shape[1], frame.number
    record["pixels"][: image.size].reshape(image.shape)[...] = image
    slot.commit(frame.stamp_ns)


def read_frame(slot: NewestSlot, newer_than: int = 0) -> Message[Frame] | None:
    """The newest frame of a slot, copied, or None when there is none with a sequence above `newer_than`."""
    return _frame_message(slot.read(_frame_parts, newer_than))


def read_frame_at(slot: NewestSlot, stamp_ns: int) -> Message[Frame] | None:
    """Of the last `depth - 1` frames the one taken nearest to `stamp_ns`, copied, or None before the first."""
    return _frame_message(slot.read_at(stamp_ns, _frame_parts))


def _frame_message(message: Message[tuple[np.ndarray, int]] | None) -> Message[Frame] | None:
    if message is None:
        return None
    image, number = message.value
    return Message(Frame(image, number, message.stamp_ns), message.sequence, message.stamp_ns)


def _frame_parts(record: np.void) -> tuple[np.ndarray, int]:
    height, width = int(record["height"]), int(record["width"])
    size = height * width * 3
    if not 0 < size <= record["pixels"].size or height < 0:  # half-written; the slot discards this copy
        return np.zeros((1, 1, 3), np.uint8), 0
    return record["pixels"][:size].reshape(height, width, 3).copy(), int(record["number"])


def write_state(slot: NewestSlot, state: HandState, command: np.ndarray, loop_state: LoopState) -> None:
    """Publishes what the control loop measured and sent in one period, and where it is. Allocates nothing."""
    record = slot.begin()
    record["vector"], record["command"], record["scene"] = state.vector, command, state.scene
    for name in LOOP_STATE_FIELDS:
        record[name] = getattr(loop_state, name)
    slot.commit(state.stamp_ns)


def read_state(slot: NewestSlot) -> HandState | None:
    """The newest state that the control loop published, copied, or None before the first."""
    message = slot.read(lambda record: (record["vector"].copy(), record["scene"].copy()))
    return None if message is None else HandState(message.value[0], message.stamp_ns, message.value[1])


def read_pose_at(slot: NewestSlot, stamp_ns: int) -> np.ndarray | None:
    """(7 + J,) the measured pose nearest to `stamp_ns`, copied, or None before the first."""
    message = slot.read_at(stamp_ns, lambda record: record["vector"].copy())
    return None if message is None else message.value


def read_loop_state(slot: NewestSlot) -> LoopState | None:
    """The newest state of the control loop itself, or None before its first tick."""
    message = slot.read(loop_state_from_record)
    return None if message is None else message.value


def loop_state_from_record(record: np.void) -> LoopState:
    """The loop's state in a record of `state_dtype`."""
    return LoopState(**{name: int(record[name]) for name in LOOP_STATE_FIELDS})


def fill_chunk(
    record: np.void,
    chunk: Chunk,
    frames: list[Message[Frame]],
    stages_ns: Mapping[str, int],
    started_ns: int,
    finished_ns: int,
) -> None:
    """Fills a record of `chunk_dtype`; of the stages the first STAGE_SLOTS - 1 are kept, then their total.

    Raises:
        BadInputError: the targets do not have the shape that the channel was made for.
    """
    if chunk.targets.shape != record["targets"].shape:
        raise BadInputError(f"targets have shape {chunk.targets.shape}, expected {record['targets'].shape}")
    record["targets"], record["anchor"] = chunk.targets, chunk.anchor
    record["observed_ns"], record["request"], record["episode"] = chunk.observed_ns, chunk.request, chunk.episode
    record["image_age_ns"] = chunk.image_age_ns
    record["frame_numbers"] = [message.value.number for message in frames]
    record["frame_stamps_ns"] = [message.stamp_ns for message in frames]
    record["started_ns"], record["finished_ns"] = started_ns, finished_ns
    named = [*list(stages_ns.items())[: STAGE_SLOTS - 1], ("total", finished_ns - started_ns)]
    record["stages_ns"], record["stage_names"] = 0, b""
    for i, (name, duration_ns) in enumerate(named):
        record["stages_ns"][i], record["stage_names"][i] = duration_ns, name.encode()[:16]


def chunk_from_record(record: np.void) -> Chunk:
    """The chunk in a record of `chunk_dtype`; its arrays are views into the record."""
    return Chunk(
        targets=record["targets"],
        anchor=record["anchor"],
        observed_ns=int(record["observed_ns"]),
        request=int(record["request"]),
        episode=int(record["episode"]),
        image_age_ns=int(record["image_age_ns"]),
    )


def stage_names_from_record(record: np.void) -> tuple[str, ...]:
    """Names of the stages in a record of `chunk_dtype`, in the order of its `stages_ns`."""
    return tuple(name.decode() for name in record["stage_names"] if name)


def write_note(slot: NewestSlot, text: str) -> None:
    """Leaves a message for people, cut to the size of the slot."""
    record = slot.begin()
    record["text"] = text.encode("utf-8", "replace")[: slot.dtype["text"].itemsize]
    slot.commit(0)


def read_note(slot: NewestSlot) -> str:
    """The last note, or an empty string."""
    message = slot.read(lambda record: bytes(record["text"]))
    return "" if message is None else message.value.decode("utf-8", "replace")
