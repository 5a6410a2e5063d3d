"""Perceives one observation at a time: in the calling thread, or in one of its own while the policy acts on the last.

An engine runs one stage in one thread at a time, but different stages may run side by side: ONNX Runtime has a session
per stage, TensorRT an execution context, a stream and buffers per stage. Both let other Python threads run meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.runtime.ipc.rings.newest import Message
from vpp_edge.runtime.policy.inference import Look


@dataclass(frozen=True)
class Observation:
    """What one look is made from.

    Attributes:
        frames: V synchronized frames.
        hand: (7 + J,) pose at their time.
        stamp_ns: time of the oldest frame.
        loop_state: of the control loop when the frames were chosen.
        number: of the look, growing.
        begun_ns: when it was chosen.
    """

    frames: list[Message[Frame]]
    hand: np.ndarray
    stamp_ns: int
    loop_state: LoopState
    number: int
    begun_ns: int


class Looker:
    """Takes an observation, gives it back with what the policy has made of it.

    Args:
        beside: perceive in a thread of its own.
    """

    def __init__(self, beside: bool) -> None:
        self._thread = ThreadPoolExecutor(1, "perceive") if beside else None
        self._observation: Observation | None = None
        self._done: Callable[[], bool] = lambda: True
        self._result: Callable[[], Look]

    @property
    def busy(self) -> bool:
        """Whether an observation has been taken and not been given back yet."""
        return self._observation is not None

    def begin(self, observation: Observation, perceive: Callable[[], Look]) -> None:
        """Starts to perceive. Only when it is not busy."""
        self._observation, self._result = observation, perceive
        if self._thread is not None:
            future = self._thread.submit(perceive)
            self._done, self._result = future.done, future.result

    def take(self) -> tuple[Observation, Look] | None:
        """What was perceived, once; None while there is nothing. Without a thread of its own it perceives now.

        Raises:
            BaseException: what perceiving raised.
        """
        if self._observation is None or not self._done():
            return None
        observation, self._observation = self._observation, None
        return observation, self._result()

    def close(self) -> None:
        """Waits until nothing is being perceived, so that the engines can be closed."""
        if self._thread is not None:
            self._thread.shutdown()
