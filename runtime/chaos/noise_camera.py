"""A camera of random noise, for trials whose policy ignores its images."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.interfaces import Camera, CameraStatistics, Frame, LatestState

SIZE = (48, 64, 3)


@dataclass(frozen=True)
class NoiseCamera:
    """A CameraSource whose frames all differ."""

    fps: float = 30.0
    name: str = "noise"
    view: str = ""
    image_size: tuple[int, int] = (SIZE[1], SIZE[0])

    def open(self, latest_state: LatestState | None = None) -> Camera:
        return _Noise(self.fps)


class _Noise:
    def __init__(self, fps: float) -> None:
        self.name, self.statistics = "noise", CameraStatistics()
        self._period_ns, self._number = round(1e9 / fps), 0
        self._random, self._due_ns = np.random.default_rng(0), time.monotonic_ns()

    def read(self, timeout_ns: int) -> Frame:
        self._due_ns = max(self._due_ns + self._period_ns, time.monotonic_ns() - self._period_ns)
        time.sleep(max(0, self._due_ns - time.monotonic_ns()) / 1e9)
        self._number += 1
        return Frame(self._random.integers(0, 256, SIZE, np.uint8), self._number, time.monotonic_ns())

    def close(self) -> None:
        pass

    def __enter__(self) -> _Noise:
        return self

    def __exit__(self, *_: object) -> None:
        pass
