"""The messages between the processes of a run, as numpy dtypes of fixed size without pickles."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from vpp_edge.runtime.ipc.loop_state import LoopState

MOST_PIXEL_BYTES = 1920 * 1080 * 3  # the largest colour image of a RealSense camera
STAGE_SLOTS = 8
NOTE_BYTES = 2000
INSTRUCTION_BYTES = 4000
LOOP_STATE_FIELDS = tuple(field.name for field in fields(LoopState))

NOTE = np.dtype([("text", f"S{NOTE_BYTES}")])
INSTRUCTION_NOTE = np.dtype([("text", f"S{NOTE_BYTES + 2 * INSTRUCTION_BYTES}")])  # the words that each reader loses
INSTRUCTION = np.dtype([("text", f"S{INSTRUCTION_BYTES}"), ("episode", "<i8")])


def frame_dtype(pixel_bytes: int = MOST_PIXEL_BYTES) -> np.dtype:
    """An image of at most this many bytes, with its size and its number."""
    return np.dtype(
        [("height", "<i4"), ("width", "<i4"), ("number", "<i8"), ("pixels", "u1", (pixel_bytes,))], align=True
    )


def pixel_bytes_of(size: tuple[int, int] | None) -> int:
    """Bytes of an RGB image of (width, height); None: of the largest that a camera may deliver."""
    return MOST_PIXEL_BYTES if size is None else 3 * size[0] * size[1]


def state_dtype(dims: int, scene_size: int) -> np.dtype:
    """The hand's state and command, (7 + J,) each, its scene, and the loop's state."""
    return np.dtype(
        [
            ("vector", "<f8", (dims,)),
            ("command", "<f8", (dims,)),
            ("scene", "<f8", (scene_size,)),
            *((name, "<i8") for name in LOOP_STATE_FIELDS),
        ]
    )


def chunk_dtype(horizon: int, dims: int, views: int) -> np.dtype:
    """T targets with their anchor, the frames they come from, and the duration of every stage of the inference."""
    return np.dtype(
        [
            ("targets", "<f8", (horizon, dims)),
            ("anchor", "<f8", (dims,)),
            ("observed_ns", "<i8"),
            ("image_age_ns", "<i8"),
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
    """A chunk, when it arrived and what the control loop decided about it (`counters.Verdict`)."""
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
