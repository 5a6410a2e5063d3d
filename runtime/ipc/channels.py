"""All channels between the processes of a run, in shared memory: who writes each and who reads it."""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from vpp_edge.runtime.ipc.counters import CameraCounts, ChunkCounts, LoopCounts, PolicyCounts, names_of
from vpp_edge.runtime.ipc.dtypes import (
    INSTRUCTION,
    INSTRUCTION_NOTE,
    MOST_PIXEL_BYTES,
    NOTE,
    chunk_dtype,
    frame_dtype,
    state_dtype,
    tick_dtype,
    verdict_dtype,
)
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot
from vpp_edge.runtime.ipc.rings.ordered import OrderedRing
from vpp_edge.runtime.ipc.rings.room import check_room
from vpp_edge.wording import counted

STATE_DEPTH = 512  # 5 s of states at 100 Hz, to find the one at the time of a frame
FRAME_DEPTH = 6  # readers can look back at the last five, 170 ms at 30 Hz
CHUNK_CAPACITY = 8  # the loop takes them every period; more than one waiting means that it stalled
TICK_CAPACITY = 2048  # 20 s at 100 Hz for the recorder to catch up

PROCESS_FIELDS = ("phase", "heartbeat_ns", "pid")
CAMERA_FIELDS = (*PROCESS_FIELDS, *names_of(CameraCounts), "height", "width", "period_ns")
POLICY_FIELDS = (*PROCESS_FIELDS, *names_of(PolicyCounts), "spread_ns")
LOOP_FIELDS = (*names_of(LoopCounts), *names_of(ChunkCounts))
TELEMETRY_FIELDS = (*PROCESS_FIELDS, "ticks", "chunks", "frames")
RECORDER_FIELDS = (*PROCESS_FIELDS, "rows", "ticks", "inferences")


@dataclass(frozen=True)
class CameraChannel:
    """What a camera process writes, named after its view."""

    name: str
    frames: NewestSlot
    board: Board
    note: NewestSlot

    def close(self) -> None:
        """As `Channels.close`."""
        for part in (self.frames, self.board, self.note):
            part.close()


@dataclass(frozen=True)
class Channels:
    """Every channel of a run. The control process creates and removes them; children get them when spawned.

    Attributes:
        orders: board that control writes: `stopping` ends every child, `hot` lowers the rate of the policy.
        instruction: control -> policy. `instruction_note`: what the policy does not read of it, policy -> control.
        states: control -> policy, simulator, recorder. `chunks`: policy -> control.
        ticks, verdicts: control -> recorder.
        log_ticks, log_verdicts: the same, control -> telemetry.
        loop: control's own counts, a few times per second.
    """

    orders: Board
    instruction: NewestSlot
    instruction_note: NewestSlot
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
    def create(
        cls,
        camera_names: tuple[str, ...],
        horizon: int,
        dims: int,
        scene_size: int = 0,
        pixel_bytes: tuple[int, ...] = (),
    ) -> Channels:
        """Channels for V cameras, chunks of T targets, poses of `dims` numbers and a simulated scene.

        Args:
            pixel_bytes: of the largest image of each camera, (V,); empty: MOST_PIXEL_BYTES of each.

        Raises:
            BadInputError: there is too little shared memory for all of them; none is left behind.
        """
        images = dict(zip(camera_names, pixel_bytes or (MOST_PIXEL_BYTES,) * len(camera_names), strict=True))
        own = _own_parts(camera_names, horizon, dims, scene_size)
        by_camera = {name: _camera_parts(name, size) for name, size in images.items()}
        every = [*own.values(), *(part for parts in by_camera.values() for part in parts.values())]
        check_room(sum(map(_room_of, every)), f"this run with {counted(len(images), 'camera')}")
        with contextlib.ExitStack() as made:

            def make(parts: dict[str, partial]) -> dict[str, Any]:
                return {field: made.enter_context(contextlib.closing(part())) for field, part in parts.items()}

            cameras = tuple(CameraChannel(name=name, **make(parts)) for name, parts in by_camera.items())
            channels = cls(cameras=cameras, **make(own))
            made.pop_all()  # from here on `close` removes them
        return channels

    def close(self) -> None:
        """Unmaps everything, and removes it in the process that created it. May be called twice."""
        for camera in self.cameras:
            camera.close()
        for channel in fields(self):
            if channel.name != "cameras":
                getattr(self, channel.name).close()


def _camera_parts(name: str, pixel_bytes: int) -> dict[str, partial]:
    """The parts of a CameraChannel, not made yet."""
    return {
        "frames": partial(NewestSlot, frame_dtype(pixel_bytes), FRAME_DEPTH, f"cam-{name}"),
        "board": partial(Board, CAMERA_FIELDS),
        "note": partial(NewestSlot, NOTE),
    }


def _own_parts(camera_names: tuple[str, ...], horizon: int, dims: int, scene_size: int) -> dict[str, partial]:
    """The parts of Channels beside the cameras', not made yet."""
    chunk = chunk_dtype(horizon, dims, len(camera_names))
    return {
        "orders": partial(Board, ("stopping", "hot"), "orders"),
        "instruction": partial(NewestSlot, INSTRUCTION, purpose="instruction"),
        "instruction_note": partial(NewestSlot, INSTRUCTION_NOTE),
        "states": partial(NewestSlot, state_dtype(dims, scene_size), STATE_DEPTH, "states"),
        "chunks": partial(OrderedRing, chunk, CHUNK_CAPACITY, "chunks"),
        "ticks": partial(OrderedRing, tick_dtype(dims), TICK_CAPACITY, "ticks"),
        "verdicts": partial(OrderedRing, verdict_dtype(chunk), 4 * CHUNK_CAPACITY, "verdicts"),
        "log_ticks": partial(OrderedRing, tick_dtype(dims), TICK_CAPACITY, "log-ticks"),
        "log_verdicts": partial(OrderedRing, verdict_dtype(chunk), 4 * CHUNK_CAPACITY, "log-verdicts"),
        "policy": partial(Board, (*POLICY_FIELDS, *(f"used_{name}" for name in camera_names)), "policy"),
        "policy_note": partial(NewestSlot, NOTE),
        "recorder": partial(Board, RECORDER_FIELDS, "recorder"),
        "recorder_note": partial(NewestSlot, NOTE),
        "loop": partial(Board, LOOP_FIELDS, "loop"),
        "metrics": partial(Board, PROCESS_FIELDS, "metrics"),
        "metrics_note": partial(NewestSlot, NOTE),
        "telemetry": partial(Board, TELEMETRY_FIELDS, "telemetry"),
        "telemetry_note": partial(NewestSlot, NOTE),
    }


def _room_of(part: partial) -> int:
    """Whole pages of shared memory that a part takes once it is made."""
    size: int = part.func.bytes_of(*part.args, **part.keywords)  # type: ignore[attr-defined]
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
