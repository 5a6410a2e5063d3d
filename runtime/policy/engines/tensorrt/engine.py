"""Runs the stages of a bundle on an NVIDIA GPU, with the engines that `vpp-edge build` wrote.

UNTESTED ON A DEVICE: written from the documentation of TensorRT 10.3 to 11.4, TensorRT-RTX 1.7 and cuda-bindings, and
exercised against stand-ins for both libraries only.

Each stage owns a stream, and page-locked arrays and device buffers of its fixed shapes. Copies in, execution and copies
out are captured into one CUDA graph where the engine allows it, so that an inference is a single launch.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.bundle.engine import EngineOptions, closed_on_error
from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BadInputError, BundleError, HardwareFaultError
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
    # All engines are found and hashed before TensorRT sees the first one.
    plans = {name: verified_plan(bundle, stage, target) for name, stage in bundle.manifest.stages.items()}
    trt, cuda = target.library.load(), Cuda(load_runtime())
    engines: dict[str, TensorRTEngine] = {}
    with closed_on_error(engines):
        for name, plan in plans.items():
            engines[name] = TensorRTEngine(trt, cuda, plan, bundle.stage(name))
    return engines


def verified_plan(bundle: Bundle, stage: StageRecord, target: Target) -> Any:
    """The verified bytes of the newest engine of a stage for a device.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    cache = EngineCache(bundle.path)
    key = target.key(bundle, stage, BuildFlags())
    record = cache.fitting(key)
    if record is None:
        others = sorted({f"{r.key.library} {r.key.version} for SM {r.key.sm}" for r in cache.records()})
        existing = f" (there are engines of {', '.join(others)}, or of other graphs)" if others else ""
        raise BundleError(
            f"{bundle.path}: stage {stage.name} has no engine of {target.library.module} {target.version} "
            f"(CUDA {target.cuda}) for SM {target.sm} yet{existing}. "
            f"Build it here: vpp-edge build {bundle.path} --backend {target.library.backend}"
        )
    return cache.open_verified(record)


def deserialize_engine(trt: Any, plan: Any, stage: str) -> tuple[Any, Any]:
    """The IRuntime and the ICudaEngine of verified bytes; the runtime must outlive the engine.

    An engine may carry host code. Ours do not, so host code is not allowed.

    Raises:
        BundleError: TensorRT rejects the bytes.
    """
    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        del runtime  # the traceback would keep it alive
        raise BundleError(
            f"stage {stage}: {trt.__name__} {trt.__version__} rejects its engine: "
            f"{logger.reason() or 'it gives no reason'}. Build it again with `vpp-edge build --force`."
        )
    return runtime, engine


def layers_of_engine(trt: Any, plan: Any, stage: str) -> str:
    """JSON about the layers of an engine, as trtexec writes it with `--exportLayerInfo`."""
    runtime, engine = deserialize_engine(trt, plan, stage)
    inspector = engine.create_engine_inspector()
    layers = str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    del inspector, engine, runtime  # in this order
    return layers


@dataclass
class _TensorRTObjects:
    """The only references to TensorRT's objects: dropping one destroys the object."""

    runtime: Any = None
    engine: Any = None
    context: Any = None


class TensorRTEngine:
    """One stage on the device. Close it before the process ends; if it is not, it closes itself at exit.

    A CUDA graph refers to memory of the execution context that it was captured from, so the context must not go first.
    The order is: executable graph, graph, context, engine, runtime, buffers, stream.

    Args:
        trt: the TensorRT module.
        plan: verified bytes of the engine.
        stage: the signature that the engine must have.

    Raises:
        BundleError: TensorRT rejects the engine, or it has another signature.
        HardwareFaultError: the device is out of memory, or another CUDA call failed.
    """

    def __init__(self, trt: Any, cuda: Cuda, plan: Any, stage: StageRecord) -> None:
        self._cuda, self._stage, self._trt = cuda, stage, _TensorRTObjects()
        self._arrays: dict[str, np.ndarray] = {}
        self._buffers: dict[str, int] = {}
        # Destroyed in reverse order of creation. Nothing in here may refer to `self`, which would then never be freed.
        self._owned = ExitStack()
        self._destroy = weakref.finalize(self, self._owned.close)
        try:
            self._stream = cuda.stream(self._owned)
            self._allocate()
            self._load(trt, plan)
            # Once without a graph: what is initialized at first use must not be initialized during capture.
            self._enqueue()
            cuda.call("cudaStreamSynchronize", self._stream)
            self._graph = self._captured()
        except BaseException:
            with suppress(HardwareFaultError):  # the first error says more
                self.close()
            raise

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, each in a new array."""
        if not self._destroy.alive:
            raise BadInputError(f"stage {self._stage.name}: its engine is closed; load the policy again")
        for spec in self._stage.inputs:
            self._arrays[spec.name][...] = inputs[spec.name]
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.call("cudaGraphLaunch", self._graph, self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return {spec.name: self._arrays[spec.name].copy() for spec in self._stage.outputs}

    def close(self) -> None:
        """Destroys everything on the device, also after a failed `run`. May be called twice.

        Raises:
            HardwareFaultError: a step failed; the others were done.
        """
        self._destroy()

    def _allocate(self) -> None:
        for tensor in (*self._stage.inputs, *self._stage.outputs):
            array = self._cuda.pinned_array(tensor.shape, tensor.dtype, self._owned)
            self._arrays[tensor.name] = array
            self._buffers[tensor.name] = self._cuda.device_buffer(array.nbytes, self._owned)
        self._owned.callback(self._arrays.clear)  # their memory is about to be freed

    def _load(self, trt: Any, plan: Any) -> None:
        """Runtime, engine and execution context. Locals must not refer to them: a traceback would keep them alive."""
        loaded, name = self._trt, self._stage.name
        for attribute in ("runtime", "engine", "context"):
            self._owned.callback(setattr, loaded, attribute, None)
        loaded.runtime, loaded.engine = deserialize_engine(trt, plan, name)
        if (found := _signature(trt, loaded.engine)) != (expected := _expected_signature(self._stage)):
            raise BundleError(
                f"stage {name}: its engine has tensors {found}, its manifest states {expected}; rejected. "
                "Build it again with `vpp-edge build --force`."
            )
        loaded.context = loaded.engine.create_execution_context()
        if loaded.context is None:
            raise HardwareFaultError(f"stage {name}: no execution context; the device may be out of memory")
        for tensor, address in self._buffers.items():
            loaded.context.set_tensor_address(tensor, address)
        # After a failed run, work may still be on the stream.
        self._owned.callback(self._cuda.call, "cudaStreamSynchronize", self._stream)

    def _enqueue(self) -> None:
        """Copies in, execution, copies out, on the stream."""
        kinds = self._cuda.runtime.cudaMemcpyKind
        for spec in self._stage.inputs:
            array = self._arrays[spec.name]
            self._copy(self._buffers[spec.name], array.ctypes.data, array.nbytes, kinds.cudaMemcpyHostToDevice)
        if not self._trt.context.execute_async_v3(self._stream):
            raise HardwareFaultError(f"stage {self._stage.name}: TensorRT could not start its execution")
        for spec in self._stage.outputs:
            array = self._arrays[spec.name]
            self._copy(array.ctypes.data, self._buffers[spec.name], array.nbytes, kinds.cudaMemcpyDeviceToHost)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        self._cuda.call("cudaMemcpyAsync", target, source, size, kind, self._stream)

    def _captured(self) -> Any:
        """The executable graph of `_enqueue`; None where this engine's work cannot be captured."""
        # TensorRT-RTX only has this method. No local may refer to it: a traceback would keep the context alive.
        if hasattr(self._trt.context, "is_stream_capturable") and not self._trt.context.is_stream_capturable(
            self._stream
        ):
            return None
        graph = self._cuda.captured_graph(self._enqueue, self._stream, self._owned)
        return None if graph is None else self._cuda.executable_graph(graph, self._owned)


def _signature(trt: Any, engine: Any) -> dict[str, tuple[bool, str, tuple[int, ...]]]:
    """Whether it is an input, dtype and shape of each of an engine's tensors."""
    signature = {}
    for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors)):
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        signature[name] = (is_input, dtype, tuple(engine.get_tensor_shape(name)))
    return signature


def _expected_signature(stage: StageRecord) -> dict[str, tuple[bool, str, tuple[int, ...]]]:
    inputs = {t.name for t in stage.inputs}
    return {t.name: (t.name in inputs, t.dtype, t.shape) for t in (*stage.inputs, *stage.outputs)}
