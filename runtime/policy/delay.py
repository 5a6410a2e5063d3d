"""How long a chunk takes from the start of its act to the control loop, as real-time chunking has to assume it."""

from __future__ import annotations

from collections import deque

WARM_UP = 3  # inferences: caches are cold and kernels are loaded lazily
KEPT = 16  # inferences, 2 s at 8 Hz


class DelayEstimate:
    """Upper bound of the next act's duration: the slowest of the last KEPT, without the first WARM_UP."""

    def __init__(self) -> None:
        self._warm_up_ns: list[int] = []
        self._delays_ns: deque[int] = deque(maxlen=KEPT)

    def add(self, delay_ns: int) -> None:
        """Takes the delay of the chunk that was just computed."""
        if len(self._warm_up_ns) < WARM_UP:
            self._warm_up_ns.append(delay_ns)
        else:
            self._delays_ns.append(delay_ns)

    @property
    def bound_ns(self) -> int:
        """The bound; during the warm-up that of the warm-up itself. Needs at least one chunk."""
        return max(self._delays_ns or self._warm_up_ns)
