"""A policy worker without its process: in, where the control loop stands; out, the chunk that new frames lead to."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import write_frame
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.policy.process import PolicySettings, PolicyWorker

DIMS, HORIZON = 10, 8  # a wrist and three joints; those of the scripted policy


def settings(chunking: str) -> PolicySettings:
    return PolicySettings("", "scripted", None, 1, 0, 0, (0, 0), None, chunking, 10_000_000)


def next_chunk(channels: Channels, worker: PolicyWorker, stand: LoopState) -> np.void | None:
    """What the worker sends once it has seen new frames and a loop that stands there; None: nothing."""
    now_ns = time.monotonic_ns()
    vector = np.eye(DIMS)[6]
    channels.states.write(now_ns, vector=vector, command=vector, scene=np.zeros(0), **asdict(stand))
    for camera in channels.cameras:
        write_frame(camera.frames, Frame(np.zeros((64, 64, 3), np.uint8), 1, now_ns))
    worker.step()
    taken = np.zeros(1, channels.chunks.dtype)
    return taken[0] if channels.chunks.take_into(taken) else None
