"""A policy worker without its process: the loop's state in, the chunk that new frames lead to out."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import write_frame
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.policy.settings import PolicySettings
from vpp_edge.runtime.policy.worker import PolicyWorker

DIMS, HORIZON = 10, 8  # a wrist and three joints; those of the scripted policy


def settings(chunking: str, acts_per_look: int = 1) -> PolicySettings:
    return PolicySettings(
        bundle="",
        backend="scripted",
        provider=None,
        threads=1,
        seed=0,
        arm=0,
        frame_periods_ns=(0, 0),
        grip=None,
        chunking=chunking,
        acts_per_look=acts_per_look,
        control_period_ns=10_000_000,
    )


def observe(channels: Channels, worker: PolicyWorker, loop_state: LoopState) -> None:
    """Lets the worker step once with new frames and a loop in this state."""
    now_ns = time.monotonic_ns()
    vector = np.eye(DIMS)[6]
    channels.states.write(now_ns, vector=vector, command=vector, scene=np.zeros(0), **asdict(loop_state))
    for camera in channels.cameras:
        write_frame(camera.frames, Frame(np.zeros((64, 64, 3), np.uint8), 1, now_ns))
    worker.step()


def next_chunk(channels: Channels, worker: PolicyWorker, loop_state: LoopState) -> np.void | None:
    """What the worker then sends; None: nothing."""
    observe(channels, worker, loop_state)
    taken = np.zeros(1, channels.chunks.dtype)
    return taken[0] if channels.chunks.take_into(taken) else None
