"""Faults inside the camera and policy processes: wrappers that make a camera or policy fail on order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.chaos.orders import CameraFault, FaultOrders, PolicyFault
from vpp_edge.runtime.interfaces import (
    Camera,
    CameraSource,
    CameraStatistics,
    Frame,
    LatestState,
    NoisyCamera,
    Policy,
    image_size_of,
)
from vpp_edge.spec.policy import PolicySpec

FOREVER_S = 3600.0
JUMP = 20  # normalized actions are within -1 and 1
STALE_PERIODS, SKEW_PERIODS = 3.0, 1.5
FIRST_PERIOD_NS = 66_000_000
_wall_clock: Callable[[], float] = time.time


def apply_clock_offset(orders: FaultOrders) -> None:
    """Shifts `time.time` of this process by the ordered offset; the machine's own clock is left alone."""
    offset_s = orders.clock_offset_s
    time.time = (lambda: _wall_clock() + offset_s) if offset_s else _wall_clock


def restore_clock() -> None:
    """Undoes `apply_clock_offset` in this process."""
    time.time = _wall_clock


@dataclass(frozen=True)
class UnreliableCamera:
    """A CameraSource whose camera fails on order."""

    inner: CameraSource
    view_index: int
    orders: FaultOrders

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def view(self) -> str:
        return self.inner.view

    @property
    def fps(self) -> float | None:
        return self.inner.fps

    @property
    def image_size(self) -> tuple[int, int] | None:
        return image_size_of(self.inner)

    def open(self, latest_state: LatestState | None = None) -> Camera:
        return _Camera(self.inner.open(latest_state), self.view_index, self.orders)


class _Camera:
    def __init__(self, camera: Camera, view_index: int, orders: FaultOrders) -> None:
        self.name, self._camera, self._view_index, self._orders = camera.name, camera, view_index, orders
        self.noisy = isinstance(camera, NoisyCamera) and camera.noisy
        self._last: Frame | None = None
        self._period_ns, self._dropped = FIRST_PERIOD_NS, 0

    @property
    def statistics(self) -> CameraStatistics:
        inner = self._camera.statistics
        return replace(inner, dropped=inner.dropped + self._dropped)

    def read(self, timeout_ns: int) -> Frame:
        apply_clock_offset(self._orders)
        fault = self._orders.camera_fault(self._view_index)
        if fault == CameraFault.HANG and self._orders.take("camera"):
            time.sleep(FOREVER_S)
        if fault == CameraFault.FREEZE and self._last is not None:
            time.sleep(self._period_ns / 1e9)
            return self._last
        if fault == CameraFault.SILENT:
            time.sleep(timeout_ns / 1e9)
            raise HardwareFaultError(f"camera {self.name}: no frame within {timeout_ns / 1e6:g} ms (unplugged)")
        frame = self._camera.read(timeout_ns)
        if fault == CameraFault.DROP and self._orders.take("camera"):
            frame = self._camera.read(timeout_ns)
            self._dropped += 1
        if self._last is not None and frame.number > self._last.number:
            self._period_ns = max(1, (frame.stamp_ns - self._last.stamp_ns) // (frame.number - self._last.number))
        self._last = frame
        late_periods = {CameraFault.STALE: STALE_PERIODS, CameraFault.SKEW: SKEW_PERIODS}.get(fault, 0.0)
        return replace(frame, stamp_ns=frame.stamp_ns - int(late_periods * self._period_ns))

    def close(self) -> None:
        self._camera.close()

    def __enter__(self) -> _Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UnreliablePolicy:
    """A Policy that fails on order and otherwise forwards to the real one."""

    def __init__(self, policy: Policy, orders: FaultOrders) -> None:
        self._policy, self._orders = policy, orders

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def instruct(self, instruction: str) -> None:
        self._policy.instruct(instruction)

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return self._policy.prepare(images)

    def normalize_state(self, state: np.ndarray) -> np.ndarray:
        return self._policy.normalize_state(state)

    def denormalize(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        return self._policy.denormalize(actions, state)

    def normalize_actions(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        return self._policy.normalize_actions(actions, state)

    def perceive(self, frames: np.ndarray, **options: Any) -> np.ndarray:
        apply_clock_offset(self._orders)
        fault = self._orders.policy_fault
        if fault == PolicyFault.SLOW and self._orders.take("policy"):
            time.sleep(self._orders.policy_delay_ms / 1e3)
        if fault == PolicyFault.FAIL and self._orders.take("policy"):
            raise RuntimeError("CUDA error: an illegal memory access was encountered (injected)")
        return self._policy.perceive(frames, **options)

    def act(self, tokens: np.ndarray, proprio: np.ndarray | None = None, **options: Any) -> np.ndarray:
        actions = np.array(self._policy.act(tokens, proprio, **options))
        if self._orders.policy_fault == PolicyFault.NAN:
            actions[..., -1, :] = np.nan
        if self._orders.policy_fault == PolicyFault.JUMP:
            actions += JUMP * np.where(np.arange(actions.shape[-2]) % 2, -1, 1)[:, None].astype(actions.dtype)
        return actions

    def close(self) -> None:
        self._policy.close()


@dataclass(frozen=True)
class PolicyInjection:
    """A `SessionConfig.wrap_policy` that makes the policy process wrap its policy in an UnreliablePolicy."""

    orders: FaultOrders

    def __call__(self, policy: Policy) -> UnreliablePolicy:
        return UnreliablePolicy(policy, self.orders)
