"""The configuration of a run, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vpp_edge.bundle.engine import ONNXRUNTIME, EngineOptions, check_provider_belongs
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import SEED, above, real, whole
from vpp_edge.runtime.ipc.real_time import other_cpus
from vpp_edge.runtime.policy.act_schedule import check_acts_per_look
from vpp_edge.runtime.policy.handover_modes import RTC, checked_mode
from vpp_edge.spec.instruction import checked_instruction
from vpp_edge.suggestion import check_text

if TYPE_CHECKING:
    from vpp_edge.runtime.interfaces import CameraSource, Hand, PolicyWrapper  # loads numpy, which --help must not


RATE_HZ = real(1, 1000)
DURATION_S = above(0, 1_000_000)
LOG_FRAMES_HZ = above(0, 1000)
ARM = whole(0, 15)
CPU = whole(0, 4095)


@dataclass(frozen=True)
class SessionConfig:
    """Configuration of a run.

    Attributes:
        bundle: folder that `vpp-edge export` wrote.
        cameras: one camera per view of the policy, static camera first, or each with its `view`.
        hand: an open hand; the caller closes it.
        duration_s: from the first chunk; None: until stopped.
        provider: execution provider of ONNX Runtime; None: the CPU.
        threads: of the engine; None: all cores but one.
        seed: of the policy's noise.
        arm: which arm of a two-armed policy the hand is.
        record: folder of a data set to which the run is added as an episode.
        ignore_certificate: run a bundle whose parity certificate is missing or over its limits.
        chunking: how one chunk hands over to the next, one of `handover_modes.MODES`.
        acts_per_look: chunks made from the images of one observation; those after the first start from the newest pose.
        start_s: longest wait for the first chunk; engines of the full size take minutes to load.
        policy_silent_s: an inference that takes longer than this counts as hung.
        log: path of an MCAP log of the whole run; None: no log.
        viewer: where Rerun shows the run live, as in `viewer.check_viewer`; None: nowhere.
        log_frames_hz: how many images per second of each view are in them.
        metrics: address of the Prometheus endpoint, as in `prometheus.check_address`; None: no endpoint.
        control_cpu: core reserved for the control loop; None: it shares all.
        real_time: request SCHED_FIFO and locked memory.
        sysfs: where the kernel reports temperatures and clocks.
        wrap_policy: called in the policy process with the loaded policy, returns the one to use; picklable.
    """

    bundle: str
    cameras: tuple[CameraSource, ...]
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
    acts_per_look: int = 1
    start_s: float = 300.0
    policy_silent_s: float = 60.0
    log: str | None = None
    viewer: str | None = None
    log_frames_hz: float = 5.0
    metrics: str | None = None
    control_cpu: int | None = None
    real_time: bool = True
    sysfs: str = "/sys"
    wrap_policy: PolicyWrapper | None = None

    def __post_init__(self) -> None:
        checked_instruction(self.instruction)
        check_text("bundle", self.bundle)
        check_text("backend", self.backend)
        if not isinstance(self.cameras, (tuple, list)) or not all(hasattr(c, "open") for c in self.cameras):
            raise BadInputError("cameras: expected a tuple of cameras, one per view; `camera_from_text` makes them")
        checked_mode(self.chunking)
        check_acts_per_look(self.acts_per_look, self.chunking)
        EngineOptions(provider=self.provider, threads=self.threads)
        check_provider_belongs(self.backend, self.provider)
        SEED.check("seed", self.seed)
        ARM.check("arm", self.arm)
        RATE_HZ.check("rate_hz", self.rate_hz)
        LOG_FRAMES_HZ.check("log_frames_hz", self.log_frames_hz)
        DURATION_S.check("start_s", self.start_s)
        DURATION_S.check("policy_silent_s", self.policy_silent_s)
        if self.duration_s is not None:
            DURATION_S.check("duration_s", self.duration_s)
        if self.control_cpu is not None:
            CPU.check("control_cpu", self.control_cpu)
            other_cpus(self.control_cpu)

    @property
    def telemetry(self) -> bool:
        """Whether there is a log or a live view."""
        return self.log is not None or self.viewer is not None
