"""Faults inside the camera and policy processes: in, a real camera or policy; out, one that misbehaves when ordered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.cameras import CameraStatistics, open_camera
from vpp_edge.runtime.chaos import orders
from vpp_edge.runtime.chaos.orders import Switch
from vpp_edge.runtime.interfaces import Frame

FOREVER_S = 3600.0
WILD_ACTION = 20  # normalized actions are within -1 and 1
STALE_PERIODS, SKEW_PERIODS = 3.0, 1.5
FIRST_PERIOD_NS = 66_000_000
_wall_clock: Callable[[], float] = time.time


def follow_clock(switch: Switch) -> None:
    """Makes `time.time` of this process jump as ordered; the machine's own clock is left alone."""
    ahead_s = switch.clock_s
    time.time = (lambda: _wall_clock() + ahead_s) if ahead_s else _wall_clock


@dataclass(frozen=True)
class UnreliableCamera:
    """A CameraConfig, or one that opens itself, whose camera fails as ordered; opens itself in the camera process."""

    inner: Any
    number: int
    switch: Switch

    @property
    def name(self) -> str:
        return str(self.inner.name)

    @property
    def view(self) -> str:
        return str(self.inner.view)

    @property
    def fps(self) -> float | None:
        return self.inner.fps

    def open(self, latest_state: Any) -> _Camera:
        opens_itself = hasattr(self.inner, "open")
        camera = self.inner.open(latest_state) if opens_itself else open_camera(self.inner, latest_state)
        return _Camera(camera, self.number, self.switch)


class _Camera:
    def __init__(self, camera: Any, view: int, switch: Switch) -> None:
        self.name, self._camera, self._view, self._switch = camera.name, camera, view, switch
        self._last: Frame | None = None
        self._period_ns, self._dropped = FIRST_PERIOD_NS, 0

    @property
    def statistics(self) -> CameraStatistics:
        found = self._camera.statistics
        return replace(found, dropped=found.dropped + self._dropped)

    def read(self, timeout_ns: int) -> Frame:
        follow_clock(self._switch)
        fault = self._switch.camera_fault(self._view)
        if fault == orders.HANG and self._switch.serve("camera"):
            time.sleep(FOREVER_S)
        if fault == orders.FREEZE and self._last is not None:
            time.sleep(self._period_ns / 1e9)
            return self._last
        if fault == orders.SILENT:
            time.sleep(timeout_ns / 1e9)
            raise HardwareFaultError(f"camera {self.name}: no frame within {timeout_ns / 1e6:g} ms (unplugged)")
        frame: Frame = self._camera.read(timeout_ns)
        if fault == orders.DROP and self._switch.serve("camera"):
            frame = self._camera.read(timeout_ns)
            self._dropped += 1
        if self._last is not None and frame.number > self._last.number:
            self._period_ns = max(1, (frame.stamp_ns - self._last.stamp_ns) // (frame.number - self._last.number))
        self._last = frame
        late = {orders.STALE: STALE_PERIODS, orders.SKEW: SKEW_PERIODS}.get(fault, 0.0)
        return replace(frame, stamp_ns=frame.stamp_ns - int(late * self._period_ns)) if late else frame

    def close(self) -> None:
        self._camera.close()

    def __enter__(self) -> _Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UnreliablePolicy:
    """A policy with the face of EdgePolicy that fails as ordered; all else is the real one's."""

    def __init__(self, policy: Any, switch: Switch) -> None:
        self._policy, self._switch = policy, switch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def infer(self, *inputs: Any, **more: Any) -> Any:
        follow_clock(self._switch)
        fault = self._switch.policy_fault
        if fault == orders.SLOW and self._switch.serve("policy"):
            time.sleep(self._switch.policy_ms / 1e3)
        if fault == orders.FAIL and self._switch.serve("policy"):
            raise RuntimeError("CUDA error: an illegal memory access was encountered (injected)")
        out = self._policy.infer(*inputs, **more)
        actions = np.array(out.actions)
        if fault == orders.NAN:
            actions[..., -1, :] = np.nan
        if fault == orders.WILD:
            actions += WILD_ACTION * np.where(np.arange(actions.shape[-2]) % 2, -1, 1)[:, None].astype(actions.dtype)
        return replace(out, actions=actions)


@dataclass(frozen=True)
class AroundPolicy:
    """What makes the policy process put an UnreliablePolicy around its policy."""

    switch: Switch

    def __call__(self, policy: Any) -> UnreliablePolicy:
        return UnreliablePolicy(policy, self.switch)
