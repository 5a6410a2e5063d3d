"""What identifies a recording wherever it is kept: digests of its pictures and states, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vpp_edge.bundle.separation import RecordingContent, content_keys, moving_keys
from vpp_edge.calibration.datasets.recording import Recording
from vpp_edge.calibration.datasets.video_part import VideoPart


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
        sequences += [_pictures(part, recording) for part in recording.views if not part.unread]
    return RecordingContent(name=recording.name, rows=tuple(rows), keys=content_keys(sequences))


def _pictures(part: VideoPart, recording: Recording) -> list[bytes]:
    digests = {row: _digest(image) for row, image in part.pictures(range(recording.length), recording.name)}
    return [digests[row] for row in sorted(digests)]


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(array.tobytes()).digest()
