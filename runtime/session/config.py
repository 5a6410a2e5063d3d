"""What to run: in, a user's choices; out, a checked SessionConfig."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.engine import ONNXRUNTIME, EngineOptions, check_provider_belongs
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.real_time import other_cpus
from vpp_edge.runtime.policy.handover_modes import RTC, checked_mode

if TYPE_CHECKING:
    from vpp_edge.runtime.interfaces import Hand  # loads numpy, which --help must not


@dataclass(frozen=True)
class SessionConfig:
    """What to run.

    Attributes:
        bundle: folder that `vpp-edge export` wrote.
        cameras: one CameraConfig per view of the policy, static camera first.
        hand: an open hand; the caller closes it.
        duration_s: from the first chunk; None: until stopped.
        provider: execution provider of ONNX Runtime; None: the CPU.
        threads: of the engine; None: all cores but one.
        seed: of the policy's noise.
        arm: which arm of a two-armed policy the hand is.
        record: folder of a data set to which the run is added as an episode.
        ignore_certificate: run a bundle whose parity certificate is missing or over its limits.
        chunking: how one chunk follows another, one of `chunking.MODES`.
        start_s: longest wait for the first chunk; engines of the full size take minutes to load.
        policy_silent_s: an inference that takes longer than this is taken to hang.
        log: path of an MCAP file that tells the whole run; None: no log.
        viewer: where Rerun shows the run live, as in `viewer.check_viewer`; None: nowhere.
        log_frames_hz: how many images per second of each view are in them.
        metrics: where counts are given to Prometheus, as in `metrics.checked_address`; None: nowhere.
        control_cpu: core that the control loop has to itself; None: it shares all.
        real_time: ask the system for SCHED_FIFO and locked memory.
        sysfs: where the kernel tells about heat and clocks.
        around_policy: takes the loaded policy and gives the one to use, in the policy process; picklable.
    """

    bundle: str
    cameras: tuple[Any, ...]
    hand: Hand
    instruction: str
    duration_s: float | None = None
    rate_hz: float = 100.0
    backend: str = ONNXRUNTIME
    provider: str | None = None
    threads: int | None = None
    seed: int = 0
    arm: int = 0
    dry_run: bool = False
    record: str | None = None
    ignore_certificate: bool = False
    chunking: str = RTC
    start_s: float = 300.0
    policy_silent_s: float = 60.0
    log: str | None = None
    viewer: str | None = None
    log_frames_hz: float = 5.0
    metrics: str | None = None
    control_cpu: int | None = None
    real_time: bool = True
    sysfs: str = "/sys"
    around_policy: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise BadInputError("the instruction is empty; say what the hand should do")
        checked_mode(self.chunking)
        EngineOptions(provider=self.provider)
        check_provider_belongs(self.backend, self.provider)
        other_cpus(self.control_cpu)
        if not 1 <= self.rate_hz <= 1000:
            raise BadInputError(f"control rate of {self.rate_hz} Hz; expected 1 to 1000")
        if not 0 < self.log_frames_hz <= 1000:
            raise BadInputError(f"{self.log_frames_hz} images per second in the log; expected above 0, at most 1000")
        if self.duration_s is not None and not 0 < self.duration_s < 1e6:
            raise BadInputError(f"duration of {self.duration_s} s; expected a positive number")

    @property
    def telemetry(self) -> bool:
        """Whether somebody is told what happens."""
        return self.log is not None or self.viewer is not None
