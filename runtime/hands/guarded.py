"""Base of all real hands: limp until armed, stopped by the first fault, unusable then until armed again.

Subclasses say how their device is opened, read and driven. When to retry, to trust a reading and to stop is decided
here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import numpy as np

from vpp_edge.clock import Clock, MonotonicClock
from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.runtime.hands.encoder_watch import EncoderWatch
from vpp_edge.runtime.interfaces import HandFault, HandState
from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.pose import PoseLayout

FAILURES_IN_A_ROW = 5
TRIES = 5  # attempts outside of control periods: opening and arming
FIRST_STEP_RAD = 0.2  # a first target further from the measured pose is a mistake
KEPT_FAULTS = 16


class LinkError(Exception):
    """One exchange with the device failed; the next one may succeed."""


class UnpluggedError(Exception):
    """The device itself is gone."""


OneHand = TypeVar("OneHand", bound="GuardedHand")
_Result = TypeVar("_Result")


class GuardedHand:
    """A hand of J driven joints on a wrist that it cannot move. Context manager.

    It can be read as soon as it is open. The first target arms it, so that a dry run never does; after a fault, an
    operator calls `arm`.

    Args:
        device: its path or address.
        wrist: (7,) xyz in m and quaternion (xyzw) that it reports.

    Attributes:
        armed: whether it drives its joints.
        faults: faults since it was armed, newest last.
        failed_reads: number of failed readings since it was opened.

    Raises:
        HardwareFaultError: the device cannot be opened, or does not answer.
    """

    name: str
    title: str
    """Name in messages, e.g. `LEAP hand`."""
    unreachable: str
    """What the joints do while the device cannot be reached, for messages."""

    def __init__(self, device: str, limits: HandLimits, wrist: tuple[float, ...], clock: Clock | None) -> None:
        self.device, self.limits, self._wrist, self._clock = device, limits, wrist, clock or MonotonicClock()
        self._watch = EncoderWatch(limits.joint_names, limits.joint_speed_rad_s)
        self.armed = self._closed = False
        self.failed_reads = self._failed_in_a_row = 0
        self.faults: tuple[HandFault, ...] = ()
        self._stopped_by = ""
        self._first = True
        self._target: np.ndarray | None = None
        self._open()
        try:
            self._state = self._measured_with_retries()
        except (LinkError, UnpluggedError) as error:
            self._release()
            raise HardwareFaultError(f"{device}: the {self.title} does not answer: {error}") from error

    def _open(self) -> None:
        """Opens the device, also again after `_release`; raises HardwareFaultError."""
        raise NotImplementedError

    def _release(self) -> None:
        """Releases the device."""
        raise NotImplementedError

    def _measure(self) -> tuple[np.ndarray, np.ndarray]:
        """(J,) joint angles in rad and (J,) effort; raises LinkError, UnpluggedError."""
        raise NotImplementedError

    def _trouble(self) -> tuple[str, str] | None:
        """Kind and text of a fault that must stop the hand, checked after a measurement; raises like `_measure`."""
        return None

    def _prepare(self) -> None:
        """Clears errors and sets limits, before the measured pose becomes the target.

        Raises:
            HardwareFaultError: an error persists, or a motor has not cooled down.
            LinkError, UnpluggedError.
        """

    def _drive(self, joints: np.ndarray) -> None:
        """Sets the target, (J,) angles within the limits; raises LinkError, UnpluggedError."""
        raise NotImplementedError

    def _engage(self) -> None:
        """Lets the joints drive to their target; raises like `_prepare`."""

    def _hold_at(self, joints: np.ndarray) -> None:
        """Sets the target and confirms that the device received it; raises LinkError, UnpluggedError."""
        self._drive(joints)

    def _calm(self) -> None:
        """Reduces the force of the joints before they hold after a fault; raises LinkError, UnpluggedError."""

    def _relax(self) -> None:
        """Makes the joints limp, if the device can; called when arming failed."""

    def read(self) -> HandState:
        """The measured state. After a failed exchange, the last state with its old stamp, up to four times in a row.

        Raises:
            HardwareFaultError: five failures in a row, the device is gone, reports an error or overheating, or an
                impossible angle. The joints then hold until the hand is armed again.
        """
        self._check_usable("read")
        try:
            state = self._measured()
            trouble = self._trouble()
        except UnpluggedError as error:
            raise self._stop("unplugged", str(error)) from error
        except LinkError as error:
            self.failed_reads += 1
            self._failed(error)
            return dataclasses.replace(self._state, faults=self.faults)
        self._failed_in_a_row = 0
        if trouble is not None:
            raise self._stop(*trouble)
        if encoder_fault := self._watch.fault(state.vector[PoseLayout.JOINTS], self._target, state.stamp_ns):
            raise self._stop("encoder", encoder_fault)
        self._state = state
        return state

    def send(self, target: np.ndarray) -> None:
        """Sets the target of the joints, clamped to their limits; arms the hand if it is not armed yet.

        Args:
            target: (7 + J,) in the layout of HandState.vector; the wrist part is ignored.

        Raises:
            BadInputError: not 7 + J finite numbers.
            HardwareFaultError: the hand was stopped by a fault, or the first target is too far away.
        """
        target, size = np.asarray(target, dtype=np.float64), self.limits.pose_dims
        if target.shape != (size,) or not np.isfinite(target).all():
            raise BadInputError(f"hand target of shape {target.shape}: expected {size} finite numbers")
        self._check_usable("be commanded")
        if not self.armed:
            self.arm()
        joints = np.clip(target[PoseLayout.JOINTS], self.limits.joint_lower_rad, self.limits.joint_upper_rad)
        if self._first and self._target is not None:
            if (step := np.abs(joints - self._target).max()) > FIRST_STEP_RAD:
                raise self._stop("motor", f"the first target is {step:.2f} rad from where the hand is")
            self._first = False
        try:
            self._drive(joints)
        except UnpluggedError as error:
            raise self._stop("unplugged", str(error)) from error
        except LinkError as error:
            self._failed(error)
            return
        self._target = joints

    def arm(self) -> None:
        """Makes the measured pose the target and lets the joints drive.

        Raises:
            HardwareFaultError: an error persists, a motor has not cooled down, or a joint is far outside its limits;
                the hand is then not armed.
        """
        if self._closed:
            raise HardwareFaultError(f"the {self.title} is closed; open it again")
        if self._stopped_by:
            self._release()
            self._open()
        try:
            self._prepare()
            state = self._measured_with_retries()
            joints = np.clip(state.vector[PoseLayout.JOINTS], self.limits.joint_lower_rad, self.limits.joint_upper_rad)
            if (outside := np.abs(joints - state.vector[PoseLayout.JOINTS]).max()) > FIRST_STEP_RAD:
                raise HardwareFaultError(
                    f"a joint is {outside:.2f} rad outside its limits; move it by hand, or calibrate"
                )
            self._with_retries(lambda: self._hold_at(joints))
            self._engage()
        except (LinkError, UnpluggedError) as error:
            self._relax()
            raise HardwareFaultError(f"the {self.title} cannot be armed: {error}") from error
        except HardwareFaultError:
            self._relax()
            raise
        self._watch.restart()
        self._state, self._target, self.faults = state, joints, ()
        self.armed, self._first, self._stopped_by, self._failed_in_a_row = True, True, "", 0

    def hold(self) -> None:
        """Makes the measured pose the target, or else the last known one; does nothing if the hand was never armed.

        Raises:
            HardwareFaultError: the device cannot be reached.
        """
        if self._closed or not (self.armed or self._stopped_by):
            return
        try:
            if not self._stopped_by:
                with contextlib.suppress(LinkError):
                    self._state = self._measured()
            self._hold_at(self._within(self._state))
        except (LinkError, UnpluggedError) as error:
            raise HardwareFaultError(
                f"the {self.title} cannot be commanded to hold: {error}; {self.unreachable}"
            ) from error

    def close(self) -> None:
        """Holds and releases the device; may be called twice."""
        if self._closed:
            return
        with contextlib.suppress(HardwareFaultError):
            self.hold()
        self._closed, self.armed = True, False
        self._release()

    def _measured(self) -> HandState:
        joints, effort = self._measure()
        vector = np.concatenate((self._wrist, joints))
        return HandState(vector, self._clock.now_ns(), effort=effort, faults=self.faults)

    def _measured_with_retries(self) -> HandState:
        return self._with_retries(self._measured)

    def _with_retries(self, exchange: Callable[[], _Result]) -> _Result:
        """The result of an exchange, after up to TRIES attempts."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(LinkError):
                return exchange()
        return exchange()

    def _within(self, state: HandState) -> np.ndarray:
        return np.clip(state.vector[PoseLayout.JOINTS], self.limits.joint_lower_rad, self.limits.joint_upper_rad)

    def _failed(self, error: LinkError) -> None:
        self._failed_in_a_row += 1
        self._note("bus", str(error))
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise self._stop("bus", f"{FAILURES_IN_A_ROW} failures in a row, the last: {error}") from error

    def _stop(self, kind: str, detail: str) -> HardwareFaultError:
        """Holds at the last good pose, if the device can be reached; returns the error to raise."""
        self._note(kind, detail)
        self._stopped_by = f"the {self.title} at {self.device} was stopped: {detail}"
        if self.armed and kind != "unplugged":
            with contextlib.suppress(LinkError, UnpluggedError):
                self._calm()
                self._hold_at(self._within(self._state))
        self.armed, self._target = False, None
        return HardwareFaultError(f"{self._stopped_by}. Find the cause, then arm the hand again")

    def _note(self, kind: str, detail: str) -> None:
        self.faults = (*self.faults, HandFault(self._clock.now_ns(), kind, detail))[-KEPT_FAULTS:]

    def _check_usable(self, verb: str) -> None:
        if self._closed:
            raise HardwareFaultError(f"the {self.title} is closed and cannot {verb}; open it again")
        if self._stopped_by:
            raise HardwareFaultError(f"{self._stopped_by}. It cannot {verb} until it is armed again")

    def __enter__(self: OneHand) -> OneHand:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
