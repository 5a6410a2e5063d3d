"""The nouns of the runtime: frame, camera, policy, chunk, hand. Small Protocols and the values they exchange.

Implementations live in `runtime/cameras/`, `runtime/policy/`, `runtime/hands/` and `runtime/sim/`. Everything is in SI
units; time is monotonic nanoseconds of this machine. Poses are laid out as `vpp_edge.spec.pose.PoseLayout` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from vpp_edge.spec.hand_limits import HandLimits
from vpp_edge.spec.policy import PolicySpec

NO_SCENE = np.empty(0)
NO_EFFORT = np.empty(0)
Grip = tuple[np.ndarray, np.ndarray]  # joint angles of the open and of the closed hand, (J,) rad each


@dataclass(frozen=True)
class Frame:
    """One image as a camera delivered it.

    Attributes:
        image: (height, width, 3) uint8 RGB, at the camera's own size.
        number: frame counter of the device; a gap means dropped frames, a repeat means a frozen image.
        stamp_ns: monotonic time of the exposure, or of the arrival where the device does not report it.
    """

    image: np.ndarray
    number: int
    stamp_ns: int


@dataclass(frozen=True)
class CameraStatistics:
    """What happened to a camera's frames since it was opened.

    Attributes:
        delivered: read.
        dropped: missing in the device's counter: lost before they arrived here.
        overwritten: arrived, but were replaced by newer ones before they were read.
        waiting: arrived and not read yet.
    """

    delivered: int = 0
    dropped: int = 0
    overwritten: int = 0
    waiting: int = 0


class Camera(Protocol):
    """An open camera. Context manager; `close` may be called twice."""

    name: str

    @property
    def statistics(self) -> CameraStatistics:
        """What happened to its frames so far."""

    def read(self, timeout_ns: int) -> Frame:
        """The next frame not yet read.

        Raises:
            HardwareFaultError: none arrived within `timeout_ns`, or the camera is closed.
            EndOfStreamError: the recording has ended.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class NoisyCamera(Protocol):
    """Optional face of a camera with a real sensor: no two images are equal, so an equal one is a frozen one."""

    noisy: bool


class CameraSource(Protocol):
    """A camera before it is opened, in plain values that can be sent to the process that opens it."""

    @property
    def name(self) -> str:
        """`KIND:SOURCE`, for messages and reports."""

    @property
    def view(self) -> str:
        """The policy's view that it delivers; empty: the one at its place in the list."""

    @property
    def fps(self) -> float | None:
        """Frames per second that were requested; None: the camera's own."""

    def open(self, latest_state: LatestState | None = None) -> Camera:
        """Opens the camera.

        Args:
            latest_state: for views of the simulator, returns the newest state of the hand or None.
        """


@runtime_checkable
class SizedCamera(Protocol):
    """Optional face of a CameraSource that knows the size of its images before it is opened.

    Attributes:
        image_size: (width, height) of the largest image in pixels; None: not known after all.
    """

    @property
    def image_size(self) -> tuple[int, int] | None: ...


@dataclass(frozen=True)
class Inference:
    """The output of one inference.

    Attributes:
        tokens: (1, L, D) float32, output of stage `perceive`.
        actions: (1, T, A) float32, normalized.
        timings_ns: wall time per stage, in the order in which they ran.
    """

    tokens: np.ndarray
    actions: np.ndarray
    timings_ns: dict[str, int]


class Policy(Protocol):
    """A loaded policy: images to tokens, tokens and the hand's state to a chunk of normalized actions.

    Not thread-safe, except that one thread may `perceive` while another one calls anything else but `instruct`.

    `EdgePolicy` runs a bundle, `ScriptedPolicy` needs none.
    """

    @property
    def spec(self) -> PolicySpec:
        """Sizes and meaning of everything that goes in and out."""

    def instruct(self, instruction: str) -> None:
        """Sets the instruction of the following inferences."""

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(V, H, W, 3) uint8 frames at the model's size from one image per view, static camera first."""

    def normalize_state(self, state: np.ndarray) -> np.ndarray:
        """(P,) float32 in [-1, 1] from a state in physical units (P,)."""

    def denormalize(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """(T, A) float64 in physical units from normalized actions (T, A)."""

    def normalize_actions(self, actions: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """(T, A) float64 normalized from actions in physical units (T, A)."""

    def perceive(self, frames: np.ndarray, *, video_noise: np.ndarray | None = None) -> np.ndarray:
        """(1, L, D) tokens of the present instruction; arguments as for `EdgePolicy.infer`."""

    def act(
        self,
        tokens: np.ndarray,
        proprio: np.ndarray | None = None,
        *,
        action_noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        prefix_weight: np.ndarray | None = None,
    ) -> np.ndarray:
        """(1, T, A) float32, normalized; arguments as for `EdgePolicy.act`."""

    def close(self) -> None:
        """Releases the device. May be called twice; no other method may be called afterwards."""


PolicyWrapper = Callable[[Policy], Policy]


@dataclass(frozen=True)
class Chunk:
    """T targets of one act of a policy. Target i is due (i + 1) action periods after the observed pose.

    Targets that are due later than T periods after the images are not played: they would be motion on images older than
    those of a chunk whose pose and images are of the same moment.

    Attributes:
        targets: (T, 7 + J) float64 poses.
        anchor: (7 + J,) float64, the pose that the policy observed.
        observed_ns: monotonic time of that pose.
        request: number of the act, growing.
        episode: the stretch of motion that it belongs to (`LoopState.episode`).
        image_age_ns: how much older than that pose the oldest image is.
    """

    targets: np.ndarray
    anchor: np.ndarray
    observed_ns: int
    request: int = 0
    episode: int = 0
    image_age_ns: int = 0

    @property
    def seen_ns(self) -> int:
        """Time of the oldest image that it was made from."""
        return self.observed_ns - self.image_age_ns

    def end_ns(self, period_ns: int) -> int:
        """When the last target that is played is due, for targets `period_ns` apart."""
        return self.seen_ns + len(self.targets) * period_ns


@dataclass(frozen=True)
class HandFault:
    """A fault that a hand detected.

    Attributes:
        stamp_ns: monotonic time of the detection.
        kind: `bus`, `unplugged`, `motor`, `temperature`, `encoder` or `watchdog`.
        detail: description, with the joint where there is one.
    """

    stamp_ns: int
    kind: str
    detail: str


@dataclass(frozen=True)
class HandState:
    """What a hand measured at one moment.

    Attributes:
        vector: (7 + J,) float64 pose: wrist xyz in m, wrist quaternion (xyzw), J joint angles in rad.
        stamp_ns: monotonic time of the measurement.
        scene: what simulated cameras show besides the hand, `scene_size` numbers; empty for real hands.
        effort: (J,) float64 signed effort of each joint in the hand's own unit (docs/hands.md); empty where the hand
            does not report it.
        faults: faults that the hand survived since it was armed, newest last; any other fault is raised by `read`.
    """

    vector: np.ndarray
    stamp_ns: int
    scene: np.ndarray = field(default_factory=lambda: NO_SCENE)
    effort: np.ndarray = field(default_factory=lambda: NO_EFFORT)
    faults: tuple[HandFault, ...] = ()


LatestState = Callable[[], "HandState | None"]


class Hand(Protocol):
    """A hand with J position-controlled joints on a wrist that is moved for it. Context manager.

    Optional faces: `SimulatedHand`, `GrippingHand`.
    """

    name: str
    limits: HandLimits

    def read(self) -> HandState:
        """The measured state. Raises HardwareFaultError when the hand does not answer."""

    def send(self, target: np.ndarray) -> None:
        """Sets the position target, a pose (7 + J,) that is already within the limits."""

    def hold(self) -> None:
        """Makes the measured pose the target: the safe stop."""

    def close(self) -> None:
        """Holds, then releases the device."""


@runtime_checkable
class SimulatedHand(Protocol):
    """Optional face of a hand without hardware: no operator has to arm it, and simulated cameras draw its scene.

    Attributes:
        simulated: True; a wrapper of any hand passes on what it wraps.
        scene_size: length of its states' `scene`.
    """

    simulated: bool
    scene_size: int


@runtime_checkable
class GrippingHand(Protocol):
    """Optional face of a hand that names its open and closed pose, for policies that command a gripper width.

    Attributes:
        grip: joint angles of the open and of the closed hand, (J,) rad each; None: it names none after all.
    """

    grip: tuple[ArrayLike, ArrayLike] | None


def image_size_of(source: CameraSource) -> tuple[int, int] | None:
    """(width, height) of the largest image of a camera; None where it is not known before the camera is opened."""
    return source.image_size if isinstance(source, SizedCamera) else None


def is_simulated(hand: Hand) -> bool:
    """Whether the hand moves no hardware. A hand that does not say so explicitly is taken for a real one."""
    return isinstance(hand, SimulatedHand) and hand.simulated is True


def scene_size_of(hand: Hand) -> int:
    """Length of the scene in the hand's states; 0 for real hands."""
    return hand.scene_size if isinstance(hand, SimulatedHand) else 0


def grip_of(hand: Hand) -> Grip | None:
    """The hand's open and closed joint angles, (J,) rad each; None where it names none."""
    grip = hand.grip if isinstance(hand, GrippingHand) else None
    if grip is None:
        return None
    opened, closed = (np.array(pose, dtype=np.float64) for pose in grip)
    return opened, closed
