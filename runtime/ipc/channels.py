"""All channels between the processes of a run, in shared memory: who writes each and who reads it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vpp_edge.runtime.ipc.counters import CameraCounts, ChunkCounts, LoopCounts, PolicyCounts, names_of
from vpp_edge.runtime.ipc.dtypes import (
    FRAME,
    INSTRUCTION,
    INSTRUCTION_NOTE,
    NOTE,
    chunk_dtype,
    state_dtype,
    tick_dtype,
    verdict_dtype,
)
from vpp_edge.runtime.ipc.rings.board import Board
from vpp_edge.runtime.ipc.rings.newest import NewestSlot
from vpp_edge.runtime.ipc.rings.ordered import OrderedRing

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

    @classmethod
    def create(cls, name: str) -> CameraChannel:
        return cls(
            name=name,
            frames=NewestSlot(FRAME, FRAME_DEPTH, f"cam-{name}"),
            board=Board(CAMERA_FIELDS),
            note=NewestSlot(NOTE),
        )

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
    def create(cls, camera_names: tuple[str, ...], horizon: int, dims: int, scene_size: int = 0) -> Channels:
        """Channels for V cameras, chunks of T targets, poses of `dims` numbers and a simulated scene."""
        chunk = chunk_dtype(horizon, dims, len(camera_names))
        return cls(
            orders=Board(("stopping", "hot"), "orders"),
            instruction=NewestSlot(INSTRUCTION, purpose="instruction"),
            instruction_note=NewestSlot(INSTRUCTION_NOTE),
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
            metrics=Board(PROCESS_FIELDS, "metrics"),
            metrics_note=NewestSlot(NOTE),
            telemetry=Board(TELEMETRY_FIELDS, "telemetry"),
            telemetry_note=NewestSlot(NOTE),
        )

    def close(self) -> None:
        """Unmaps everything, and removes it in the process that created it. May be called twice."""
        for camera in self.cameras:
            camera.close()
        for channel in fields(self):
            if channel.name != "cameras":
                getattr(self, channel.name).close()
