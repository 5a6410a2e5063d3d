"""Feeds the sinks of a run, its log and its live view, with every tick, chunk and frame from shared memory.

Runs in a process of its own, on rings of its own: nobody waits for it, and what it is too slow for is counted
(`OrderedRing.lost`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import read_frame, stage_names_from_record
from vpp_edge.runtime.ipc.loop_state import Phase

POLL_S = 0.01


class Sink(Protocol):
    """Receives ticks, chunks and frames in the order in which they were read; times are monotonic nanoseconds."""

    def tick(self, slot_ns: int, values: dict[str, Any]) -> None:
        """One period of the control loop: `late_ms`, `state` and `command` (7 + J,), `holding`."""

    def chunk(self, arrived_ns: int, values: dict[str, Any]) -> None:
        """One chunk: `request`, `verdict`, `dropped`, `observed_ns`, `targets` (T, 7 + J), `stages_ms`.

        `age_ms` and `image_age_ms`: how old the pose that it starts from and its oldest image are on arrival.
        """

    def frame(self, view: str, frame: Frame) -> None:
        """One image of a camera."""

    def close(self) -> None:
        """Completes what was written; may be called twice."""


def feed_sinks(channels: Channels, sinks: list[Sink], frame_period_ns: int) -> None:
    """Passes everything to every sink until the run stops.

    Args:
        frame_period_ns: shortest time between two frames of a view; 0: no limit.
    """
    tick, verdict = np.empty(1, channels.log_ticks.dtype), np.empty(1, channels.log_verdicts.dtype)
    frames = [_NewFrames(camera.frames, frame_period_ns) for camera in channels.cameras]
    board = channels.telemetry
    board["phase"] = Phase.RUNNING
    while True:
        stopping = bool(channels.orders["stopping"])  # read before draining: nothing comes after it
        board["heartbeat_ns"] = time.monotonic_ns()
        while channels.log_ticks.take_into(tick):
            board.add("ticks")
            _each(sinks, lambda sink: sink.tick(int(tick[0]["slot_ns"]), _tick_values(tick[0])))
        while channels.log_verdicts.take_into(verdict):
            board.add("chunks")
            _each(sinks, lambda sink: sink.chunk(int(verdict[0]["arrived_ns"]), _chunk_values(verdict[0])))
        for camera, fresh in zip(channels.cameras, frames, strict=True):
            if (frame := fresh.take()) is not None:
                board.add("frames")
                _each(sinks, lambda sink, name=camera.name, image=frame: sink.frame(name, image))  # type: ignore[misc]
        if stopping:
            return
        time.sleep(POLL_S)


def _each(sinks: list[Sink], call: Callable[[Sink], None]) -> None:
    for sink in sinks:
        call(sink)


class _NewFrames:
    """The frames of one view that were not taken yet, at most one per period."""

    def __init__(self, slot: Any, period_ns: int) -> None:
        self._slot, self._period_ns = slot, period_ns
        self._sequence = self._next_ns = 0

    def take(self) -> Frame | None:
        message = read_frame(self._slot, self._sequence)
        if message is None:
            return None
        self._sequence = message.sequence
        if message.stamp_ns < self._next_ns:
            return None
        self._next_ns = message.stamp_ns + self._period_ns
        return message.value


def _tick_values(tick: np.void) -> dict[str, Any]:
    return {
        "late_ms": int(tick["late_ns"]) / 1e6,
        "state": tick["state"].copy(),
        "command": tick["command"].copy(),
        "holding": bool(tick["holding"]),
    }


def _chunk_values(verdict: np.void) -> dict[str, Any]:
    chunk = verdict["chunk"]
    names = stage_names_from_record(chunk)
    return {
        "request": int(chunk["request"]),
        "verdict": verdict["verdict"].decode(),
        "dropped": int(verdict["dropped"]),
        "observed_ns": int(chunk["observed_ns"]),
        "age_ms": (int(verdict["arrived_ns"]) - int(chunk["observed_ns"])) / 1e6,
        "image_age_ms": (int(verdict["arrived_ns"]) - int(chunk["observed_ns"]) + int(chunk["image_age_ns"])) / 1e6,
        "targets": chunk["targets"].copy(),
        "stages_ms": {name: int(ns) / 1e6 for name, ns in zip(names, chunk["stages_ns"], strict=False) if ns},
    }
