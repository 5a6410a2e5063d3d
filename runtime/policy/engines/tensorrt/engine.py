"""Runs the stages of a bundle on an NVIDIA GPU: in, engines that `vpp-edge build` left in it; out, an engine per stage.

UNTESTED ON A DEVICE: written from the documentation of TensorRT 10.3 to 11.4, TensorRT-RTX 1.7 and cuda-bindings, and
exercised against stand-ins for both libraries only.

Each stage owns page-locked arrays and device buffers of its fixed shapes. Copies in, execution and copies out are
captured into one CUDA graph where the engine allows it, so that an inference is one launch on the shared stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BundleError, HardwareFaultError
from vpp_edge.runtime.policy.engines.tensorrt.build import Target, present_target
from vpp_edge.runtime.policy.engines.tensorrt.builder import make_logger
from vpp_edge.runtime.policy.engines.tensorrt.cache import EngineCache
from vpp_edge.runtime.policy.engines.tensorrt.cuda import Cuda, load_runtime
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES


def open_tensorrt(bundle: Bundle, options: EngineOptions) -> dict[str, TensorRTEngine]:
    """The backend `tensorrt`."""
    return _open_bundle(bundle, "tensorrt")


def open_tensorrt_rtx(bundle: Bundle, options: EngineOptions) -> dict[str, TensorRTEngine]:
    """The backend `tensorrt-rtx`."""
    return _open_bundle(bundle, "tensorrt-rtx")


def _open_bundle(bundle: Bundle, backend: str) -> dict[str, TensorRTEngine]:
    target = present_target(LIBRARIES[backend])
    # Every engine is found and hashed before the first one is given to TensorRT.
    plans = {name: verified_plan(bundle, stage, target) for name, stage in bundle.manifest.stages.items()}
    trt, cuda = target.library.load(), Cuda(load_runtime())
    stream = int(cuda.call("cudaStreamCreateWithFlags", cuda.runtime.cudaStreamNonBlocking))
    return {
        name: TensorRTEngine(trt, cuda, stream, deserialize_engine(trt, plan, name), bundle.stage(name))
        for name, plan in plans.items()
    }


def verified_plan(bundle: Bundle, stage: StageRecord, target: Target) -> Any:
    """The bytes of the newest engine of a stage for a device, hashed.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    cache = EngineCache(bundle.path)
    key = target.key(bundle, stage, BuildFlags())
    record = cache.fitting(key)
    if record is None:
        others = sorted({f"{r.key.library} {r.key.version} for SM {r.key.sm}" for r in cache.records()})
        there = f" (there are engines of {', '.join(others)}, or of other graphs)" if others else ""
        raise BundleError(
            f"{bundle.path}: stage {stage.name} has no engine of {target.library.module} {target.version} "
            f"(CUDA {target.cuda}) for SM {target.sm} yet{there}. "
            f"Build it here: vpp-edge build {bundle.path} --backend {target.library.backend}"
        )
    return cache.open_verified(record)


def deserialize_engine(trt: Any, plan: Any, stage: str) -> Any:
    """An ICudaEngine from verified bytes. An engine may carry host code; none of ours does, so it is not allowed."""
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BundleError(
            f"stage {stage}: {trt.__name__} {trt.__version__} does not take its engine: "
            f"{logger.reason() or 'it gives no reason'}. Build it again with `vpp-edge build --force`."
        )
    return engine


def layers_of_engine(trt: Any, plan: Any, stage: str) -> str:
    """What an engine tells about its layers, as trtexec's `--exportLayerInfo` writes it: JSON."""
    engine = deserialize_engine(trt, plan, stage)
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


class TensorRTEngine:
    """One stage on the device.

    Args:
        trt: the TensorRT module.
        stream: handle of the CUDA stream that all stages share.
        engine: an ICudaEngine.
        stage: the signature that it must have.

    Raises:
        BundleError: the engine has another signature.
        HardwareFaultError: the device has no memory left, or another CUDA call failed.
    """

    def __init__(self, trt: Any, cuda: Cuda, stream: int, engine: Any, stage: StageRecord) -> None:
        _check_signature(trt, engine, stage)
        self._cuda, self._stream, self._engine, self._stage = cuda, stream, engine, stage
        self._context = engine.create_execution_context()
        if self._context is None:
            raise HardwareFaultError(f"stage {stage.name}: no execution context; the device may be out of memory")
        tensors = (*stage.inputs, *stage.outputs)
        self._arrays = {t.name: cuda.pinned_array(t.shape, t.dtype) for t in tensors}
        self._buffers = {name: cuda.device_buffer(array.nbytes) for name, array in self._arrays.items()}
        for name, address in self._buffers.items():
            self._context.set_tensor_address(name, address)
        # Once without a graph: whatever is initialized at first use must not happen while work is captured.
        self._enqueue()
        cuda.call("cudaStreamSynchronize", stream)
        self._graph = self._captured()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, as arrays of their own."""
        for spec in self._stage.inputs:
            self._arrays[spec.name][...] = inputs[spec.name]
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.call("cudaGraphLaunch", self._graph, self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return {spec.name: self._arrays[spec.name].copy() for spec in self._stage.outputs}

    def _enqueue(self) -> None:
        """Copies in, execution, copies out, on the stream."""
        kinds = self._cuda.runtime.cudaMemcpyKind
        for spec in self._stage.inputs:
            array = self._arrays[spec.name]
            self._copy(self._buffers[spec.name], array.ctypes.data, array.nbytes, kinds.cudaMemcpyHostToDevice)
        if not self._context.execute_async_v3(self._stream):
            raise HardwareFaultError(f"stage {self._stage.name}: TensorRT could not start its execution")
        for spec in self._stage.outputs:
            array = self._arrays[spec.name]
            self._copy(array.ctypes.data, self._buffers[spec.name], array.nbytes, kinds.cudaMemcpyDeviceToHost)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        self._cuda.call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def _captured(self) -> Any:
        """The executable graph of `_enqueue`; None where this engine's work cannot be captured."""
        capturable = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX only
        if capturable is not None and not capturable(self._stream):
            return None
        modes = self._cuda.runtime.cudaStreamCaptureMode
        self._cuda.call("cudaStreamBeginCapture", self._stream, modes.cudaStreamCaptureModeThreadLocal)
        try:
            self._enqueue()
        except HardwareFaultError:
            # What was begun must be ended before the stream can be used; the error of ending it says no more.
            self._cuda.runtime.cudaStreamEndCapture(self._stream)
            return None
        try:
            graph = self._cuda.call("cudaStreamEndCapture", self._stream)
            return self._cuda.call("cudaGraphInstantiate", graph, 0)
        except HardwareFaultError:
            return None


def _check_signature(trt: Any, engine: Any, stage: StageRecord) -> None:
    """Finds out at load whether engine and manifest belong together."""
    inputs = {t.name for t in stage.inputs}
    expected = {t.name: (t.name in inputs, t.dtype, t.shape) for t in (*stage.inputs, *stage.outputs)}
    found = {}
    for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        found[name] = (is_input, dtype, tuple(engine.get_tensor_shape(name)))
    if found != expected:
        raise BundleError(
            f"stage {stage.name}: its engine has tensors {found}, its manifest states {expected}; refused. "
            "Build it again with `vpp-edge build --force`."
        )
