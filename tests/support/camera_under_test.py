"""A camera that delivers plain coloured frames, for tests of whole runs; it can be opened in a camera process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from vpp_edge.errors import BadInputError, EndOfStreamError, HardwareFaultError
from vpp_edge.runtime.interfaces import Frame


@dataclass(frozen=True)
class PatternConfig:
    """What the camera does.

    Attributes:
        stop_after: it goes silent after this many frames.
        refuse: why it cannot be opened.
        drop_every: it loses every n-th frame.
        end_after: its stream ends after this many frames.
        freeze_after: from this frame on, new frames look like this one.
    """

    name: str = "static"
    fps: float = 30.0
    size: tuple[int, int] = (48, 64)
    stop_after: int | None = None
    refuse: str = ""
    drop_every: int = 0
    end_after: int | None = None
    freeze_after: int | None = None
    view: str = ""

    @property
    def image_size(self):
        return self.size[1], self.size[0]

    def open(self, latest_state):
        if self.refuse:
            raise BadInputError(self.refuse)
        return PatternCamera(self)


@dataclass
class PatternStatistics:
    dropped: int = 0
    overwritten: int = 0


class PatternCamera:
    def __init__(self, config):
        self.name, self._config = config.name, config
        self._number = 0
        self._next_ns = time.monotonic_ns()
        self.statistics = PatternStatistics()
        self.noisy = config.freeze_after is not None

    def read(self, timeout_ns):
        config = self._config
        if self._number == config.end_after:
            raise EndOfStreamError("the recording has ended")
        if config.stop_after is not None and self._number >= config.stop_after:
            time.sleep(timeout_ns / 1e9)
            raise HardwareFaultError(f"camera {self.name}: no frame for {timeout_ns / 1e6:g} ms")
        self._number += 1
        if config.drop_every and self._number % config.drop_every == 0:
            self._number += 1
            self.statistics.dropped += 1
        self._next_ns = max(self._next_ns + int(1e9 / config.fps), time.monotonic_ns() - 5_000_000)
        time.sleep(max(0, self._next_ns - time.monotonic_ns()) / 1e9)
        shown = self._number if config.freeze_after is None else min(self._number, config.freeze_after)
        image = np.full((*config.size, 3), shown % 256, np.uint8)
        image[:, :, 1] = os.getpid() % 256
        return Frame(image, self._number, time.monotonic_ns())

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
