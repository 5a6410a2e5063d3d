"""The messages between the processes of a run: in, sizes; out, numpy dtypes and the channels that carry them.

Everything has a fixed size and no pickles: a frame, the hand's state, a chunk with the story of its inference, a tick
of the control loop, a note in words.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.contract import Stand
from vpp_edge.runtime.interfaces import Frame, HandState
from vpp_edge.runtime.ipc.instruction import INSTRUCTION
from vpp_edge.runtime.ipc.rings import Board, Message, NewestSlot, OrderedRing

MOST_PIXEL_BYTES = 1920 * 1080 * 3  # the largest colour image of a RealSense camera
STATE_DEPTH = 512  # 5 s of states at 100 Hz, to find the one at the time of a frame
STAGE_SLOTS = 8
CHUNK_CAPACITY = 8  # the loop takes them every period; more than one waiting means that it stalled
TICK_CAPACITY = 2048  # 20 s at 100 Hz for the recorder to catch up
FRAME_DEPTH = 6  # of which the last five can be looked back to, 170 ms at 30 Hz
NOTE_BYTES = 2000

CAMERA_COUNTS = ("dropped", "overwritten")  # taken from the camera's own statistics
CAMERA_FIELDS = (
    "phase",
    "heartbeat_ns",
    "pid",
    "delivered",
    *CAMERA_COUNTS,
    "repeated",
    "timeouts",
    "height",
    "width",
    "period_ns",
)
POLICY_FIELDS = ("phase", "heartbeat_ns", "pid", "inferences", "stale_waits", "apart_waits", "spread_ns")
LOOP_FIELDS = ("ticks", "missed", "late", "moving", "holds", "used", "rejected", "too_late", "old")
TELEMETRY_FIELDS = ("phase", "heartbeat_ns", "pid", "ticks", "chunks", "frames")
METRICS_FIELDS = ("phase", "heartbeat_ns", "pid")
RECORDER_FIELDS = ("phase", "heartbeat_ns", "pid", "rows", "ticks", "inferences")
STAND_FIELDS = tuple(field.name for field in fields(Stand))
STARTING, OPENING, RUNNING, WORKING, ENDED = range(5)  # values of `phase`

FRAME = np.dtype(
    [("height", "<i4"), ("width", "<i4"), ("number", "<i8"), ("pixels", "u1", (MOST_PIXEL_BYTES,))], align=True
)
NOTE = np.dtype([("text", f"S{NOTE_BYTES}")])


def state_dtype(dims: int, scene_size: int) -> np.dtype:
    """The hand's state and command, (7 + J,) each, its scene, and where the loop stands (control_contract.Stand)."""
    return np.dtype(
        [
            ("vector", "<f8", (dims,)),
            ("command", "<f8", (dims,)),
            ("scene", "<f8", (scene_size,)),
            *((name, "<i8") for name in STAND_FIELDS),
        ]
    )


def chunk_dtype(horizon: int, dims: int, views: int) -> np.dtype:
    """T targets with their anchor, the frames they come from, and the nanoseconds of every step of the inference."""
    return np.dtype(
        [
            ("targets", "<f8", (horizon, dims)),
            ("anchor", "<f8", (dims,)),
            ("observed_ns", "<i8"),
            ("request", "<i8"),
            ("episode", "<i8"),
            ("frame_numbers", "<i8", (views,)),
            ("frame_stamps_ns", "<i8", (views,)),
            ("started_ns", "<i8"),
            ("finished_ns", "<i8"),
            ("stages_ns", "<i8", (STAGE_SLOTS,)),
            ("stage_names", "S16", (STAGE_SLOTS,)),
        ]
    )


def verdict_dtype(chunk: np.dtype) -> np.dtype:
    """A chunk's story without its targets' fate left open: when it arrived and what became of it."""
    return np.dtype([("chunk", chunk), ("arrived_ns", "<i8"), ("verdict", "S8"), ("dropped", "<i8")])


def tick_dtype(dims: int) -> np.dtype:
    """One period of the control loop."""
    return np.dtype(
        [
            ("slot_ns", "<i8"),
            ("late_ns", "<i8"),
            ("stamp_ns", "<i8"),
            ("state", "<f8", (dims,)),
            ("command", "<f8", (dims,)),
            ("holding", "?"),
        ]
    )


def write_frame(slot: NewestSlot, frame: Frame) -> None:
    """Publishes a camera's frame.

    Raises:
        BadInputError: the image is no uint8 RGB image, or larger than any camera's.
    """
    image = frame.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size > MOST_PIXEL_BYTES:
        raise BadInputError(
            f"a camera gave a {image.dtype} image of shape {image.shape}; expected uint8 RGB (height, width, 3) "
            f"of at most {MOST_PIXEL_BYTES} bytes"
        )
    record = slot.begin()
    record["height"], record["width"], record["number"] = image.shape[0], image.shape[1], frame.number
    record["pixels"][: image.size].reshape(image.shape)[...] = image
    slot.commit(frame.stamp_ns)


def read_frame(slot: NewestSlot, newer_than: int = 0) -> Message[Frame] | None:
    """The newest frame of a slot, copied, or None when there is none with a sequence above `newer_than`."""
    return _frame_message(slot.read(_frame_parts, newer_than))


def read_frame_at(slot: NewestSlot, stamp_ns: int) -> Message[Frame] | None:
    """Of the last FRAME_DEPTH - 1 frames the one taken nearest to `stamp_ns`, copied, or None before the first."""
    return _frame_message(slot.read_at(stamp_ns, _frame_parts))


def _frame_message(message: Message[tuple[np.ndarray, int]] | None) -> Message[Frame] | None:
    if message is None:
        return None
    image, number = message.value
    return Message(Frame(image, number, message.stamp_ns), message.sequence, message.stamp_ns)


def _frame_parts(record: np.void) -> tuple[np.ndarray, int]:
    height, width = int(record["height"]), int(record["width"])
    size = height * width * 3
    if not 0 < size <= MOST_PIXEL_BYTES or height < 0:  # half-written; the slot throws this copy away
        return np.zeros((1, 1, 3), np.uint8), 0
    return record["pixels"][:size].reshape(height, width, 3).copy(), int(record["number"])


def read_state(slot: NewestSlot) -> HandState | None:
    """The newest state that the control loop published, copied, or None before the first."""
    message = slot.read(lambda record: (record["vector"].copy(), record["scene"].copy()))
    return None if message is None else HandState(message.value[0], message.stamp_ns, message.value[1])


def read_stand(slot: NewestSlot) -> Stand | None:
    """Where the control loop stands, or None before its first tick."""
    message = slot.read(lambda record: Stand(*(int(record[name]) for name in STAND_FIELDS)))
    return None if message is None else message.value


def write_note(slot: NewestSlot, text: str) -> None:
    """Leaves a note in words, cut to NOTE_BYTES."""
    record = slot.begin()
    record["text"] = text.encode("utf-8", "replace")[:NOTE_BYTES]
    slot.commit(0)


def read_note(slot: NewestSlot) -> str:
    """The last note, or an empty string."""
    message = slot.read(lambda record: bytes(record["text"]))
    return "" if message is None else message.value.decode("utf-8", "replace")


@dataclass(frozen=True)
class CameraChannel:
    """What a camera process writes, named after its view."""

    name: str
    frames: NewestSlot
    board: Board
    note: NewestSlot

    @classmethod
    def create(cls, name: str) -> CameraChannel:
        return cls(name, NewestSlot(FRAME, FRAME_DEPTH, f"cam-{name}"), Board(CAMERA_FIELDS), NewestSlot(NOTE))


@dataclass(frozen=True)
class Channels:
    """Every channel of a run. The control process creates and removes them; children get them when spawned.

    Attributes:
        orders: board that control writes: `stopping` ends every child; `hot` asks the policy to think less often.
        instruction: control -> policy.
        states: control -> policy, simulator, recorder. `chunks`: policy -> control.
        ticks, verdicts: control -> recorder.
        log_ticks, log_verdicts: the same, control -> telemetry.
        loop: control's own counts, a few times per second.
    """

    orders: Board
    instruction: NewestSlot
    states: NewestSlot
    chunks: OrderedRing
    ticks: OrderedRing
    verdicts: OrderedRing
    log_ticks: OrderedRing
    log_verdicts: OrderedRing
    cameras: tuple[CameraChannel, ...]
    policy: Board
    policy_note: NewestSlot
    recorder: Board
    recorder_note: NewestSlot
    loop: Board
    metrics: Board
    metrics_note: NewestSlot
    telemetry: Board
    telemetry_note: NewestSlot

    @classmethod
    def create(cls, camera_names: tuple[str, ...], horizon: int, dims: int, scene_size: int = 0) -> Channels:
        """Channels for V cameras, chunks of T targets, a hand vector of `dims` numbers and a scene."""
        chunk = chunk_dtype(horizon, dims, len(camera_names))
        return cls(
            orders=Board(("stopping", "hot"), "orders"),
            instruction=NewestSlot(INSTRUCTION, purpose="instruction"),
            states=NewestSlot(state_dtype(dims, scene_size), STATE_DEPTH, "states"),
            chunks=OrderedRing(chunk, CHUNK_CAPACITY, "chunks"),
            ticks=OrderedRing(tick_dtype(dims), TICK_CAPACITY, "ticks"),
            verdicts=OrderedRing(verdict_dtype(chunk), 4 * CHUNK_CAPACITY, "verdicts"),
            log_ticks=OrderedRing(tick_dtype(dims), TICK_CAPACITY, "log-ticks"),
            log_verdicts=OrderedRing(verdict_dtype(chunk), 4 * CHUNK_CAPACITY, "log-verdicts"),
            cameras=tuple(CameraChannel.create(name) for name in camera_names),
            policy=Board((*POLICY_FIELDS, *(f"used_{name}" for name in camera_names)), "policy"),
            policy_note=NewestSlot(NOTE),
            recorder=Board(RECORDER_FIELDS, "recorder"),
            recorder_note=NewestSlot(NOTE),
            loop=Board(LOOP_FIELDS, "loop"),
            metrics=Board(METRICS_FIELDS, "metrics"),
            metrics_note=NewestSlot(NOTE),
            telemetry=Board(TELEMETRY_FIELDS, "telemetry"),
            telemetry_note=NewestSlot(NOTE),
        )

    def close(self) -> None:
        """Unmaps everything, and removes it in the process that created it. May be called twice."""
        for camera in self.cameras:
            for part in (camera.frames, camera.board, camera.note):
                part.close()
        for channel in (self.orders, self.instruction, self.states, self.chunks, self.ticks, self.verdicts):
            channel.close()
        for ring in (self.log_ticks, self.log_verdicts):
            ring.close()
        for channel in (self.policy, self.policy_note, self.recorder, self.recorder_note):
            channel.close()
        for channel in (self.loop, self.metrics, self.metrics_note, self.telemetry, self.telemetry_note):
            channel.close()
