"""What identifies a recording wherever it is kept: digests of its pictures and states, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vpp_edge.bundle.separation import RecordingContent, content_keys, moving_keys
from vpp_edge.calibration.datasets.recording import Recording, VideoPart
from vpp_edge.video import decoded_frames, image_from_frame


def recording_content(recording: Recording, rows: Sequence[int]) -> RecordingContent:
    """The content of a recording, of which `rows` are used.

    Pictures count as they are decoded, so the container does not matter; states as float32, which some layouts keep.
    Decoding takes long: of a recording that is not used, the states are enough if they move.

    Raises:
        BadInputError: a video is missing or damaged.
    """
    states = [] if recording.states is None else [_digest(row) for row in recording.states.astype(np.float32)]
    sequences = [states]
    if rows or not moving_keys(states):
        sequences += [_pictures(part, recording.length) for part in recording.views]
    return RecordingContent(name=recording.name, rows=tuple(rows), keys=content_keys(sequences))


def _pictures(part: VideoPart, length: int) -> list[bytes]:
    digests = []
    for number, frame in enumerate(decoded_frames(part.path)):
        if number >= part.start + length:
            break
        if number >= part.start:
            digests.append(_digest(image_from_frame(frame)))
    return digests


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(array.tobytes()).digest()
