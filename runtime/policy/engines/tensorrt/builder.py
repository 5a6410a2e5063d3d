"""Compiles the verified graph of one stage into a serialized engine.

The compiler runs in a thread, so that Ctrl-C works: it polls the progress monitor for cancellation.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError, VppEdgeError
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags
from vpp_edge.runtime.policy.engines.tensorrt.network import VerifiedStage, network_from_stage

_SIGNAL_POLL_S = 0.2


@dataclass(frozen=True)
class CompiledStage:
    """A serialized engine.

    Attributes:
        plan: its bytes, in memory of TensorRT.
        layers: number of layers of the network, before fusion.
        seconds: time for parsing and compiling.
        sparsity: what the compiler said about sparse weights: for which layers it could take them and did.
    """

    plan: memoryview
    layers: int
    seconds: float
    sparsity: tuple[str, ...] = ()


def compile_stage(
    trt: Any,
    stage: VerifiedStage,
    flags: BuildFlags,
    *,
    sm: str | None,
    timing_cache: TimingCache | None = None,
    verbose: bool = False,
) -> CompiledStage:
    """Parses and compiles a stage.

    Args:
        trt: the TensorRT module.
        sm: compute capability to compile for; None: the GPU of this machine.

    Raises:
        BadInputError: the parser rejects the graph, or the compiler does not support the target.
        VppEdgeError: the compiler failed; contains its last messages.
    """
    started = time.monotonic()
    logger = make_logger(trt, verbose)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # raised by pybind11 for a failing constructor
        raise VppEdgeError(f"{trt.__name__} cannot start its builder: {logger.reason() or error}") from error
    network, referred = network_from_stage(trt, builder, logger, stage)
    config = builder.create_builder_config()
    flags.configure(trt, config)
    if sm is not None:
        _set_target(trt, config, sm)
    if timing_cache is not None:
        timing_cache.attach(config)
    monitor = _make_monitor(trt)
    config.progress_monitor = monitor
    plan = _interruptible(lambda: builder.build_serialized_network(network, config), monitor)
    if plan is None:
        target = "this device" if sm is None else f"SM {sm}"
        raise VppEdgeError(
            f"stage {stage.record.name}: {trt.__name__} {trt.__version__} could not build an engine for {target}: "
            f"{logger.reason() or 'it gives no reason'}"
        )
    if timing_cache is not None:
        timing_cache.take(config)
    del referred
    seconds = time.monotonic() - started
    return CompiledStage(memoryview(plan), network.num_layers, seconds, tuple(logger.sparsity))


class TimingCache:
    """The compiler's kernel timings as bytes, reused from build to build."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def attach(self, config: Any) -> None:
        """Attaches it to a builder configuration; BadInputError if it is of another device or TensorRT version."""
        cache = config.create_timing_cache(self.content)
        if not config.set_timing_cache(cache, False):
            raise BadInputError("--timingCacheFile was written by another TensorRT or device; use another file")

    def take(self, config: Any) -> None:
        """Takes over the timings of a build."""
        self.content = bytes(config.get_timing_cache().serialize())


def _set_target(trt: Any, config: Any, sm: str) -> None:
    targets = {name[2:]: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    if sm not in targets:
        raise BadInputError(
            f"--sm {sm}: {trt.__name__} {trt.__version__} builds for {', '.join(targets)}. "
            "For an Orin (87) build on the Orin, with --backend tensorrt."
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(targets[sm], 0):
        raise BadInputError(f"--sm {sm}: rejected by {trt.__name__} {trt.__version__}")


def make_logger(trt: Any, verbose: bool = False) -> Any:
    """An ILogger that keeps errors and what is said about sparse weights; it prints nothing, or all if `verbose`."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.sparsity: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # Without a GPU the compiler repeats this message, and continues.
            if (
                int(severity) <= int(trt.ILogger.Severity.ERROR)
                and "CUDA driver version is insufficient" not in message
            ):
                self.errors.append(message)
            if message.startswith("(Sparsity)"):
                self.sparsity.append(message)
            if verbose:
                print(f"{severity.name.lower()}: {message}", file=sys.stderr)

        def reason(self) -> str:
            """The last errors, shortened."""
            return "; ".join(" ".join(text.split())[:600] for text in self.errors[-2:])

    return Logger()


def _make_monitor(trt: Any) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cancelled = False

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            pass

        def step_complete(self, phase: str, step: int) -> bool:
            return not self.cancelled

        def phase_finish(self, phase: str) -> None:
            pass

    return Monitor()


def _interruptible(build: Any, monitor: Any) -> Any:
    """The result of `build()`. On Ctrl-C, cancels the compiler and waits for it."""
    with ThreadPoolExecutor(1) as pool:
        try:
            future: Future[Any] = pool.submit(build)
            while True:
                try:
                    return future.result(_SIGNAL_POLL_S)
                except NotYet:
                    if future.done():
                        raise
        except KeyboardInterrupt:
            monitor.cancelled = True
            raise
