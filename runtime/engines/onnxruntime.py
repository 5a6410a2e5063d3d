"""ONNX Runtime on the CPU: in, verified graph and weight bytes of a bundle; out, an engine per stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vpp_edge.engine import EngineOptions
from vpp_edge.errors import BundleError, MissingDependencyError
from vpp_edge.manifest import Bundle, StageRecord
from vpp_edge.runtime.engines.onnx_scan import check_external_data
from vpp_edge.runtime.engines.onnx_weights import external_weights

_TYPES = {
    "float32": "tensor(float)", "float16": "tensor(float16)", "int64": "tensor(int64)", "int32": "tensor(int32)",
    "uint8": "tensor(uint8)", "bool": "tensor(bool)",
}  # fmt: skip


class OnnxRuntimeEngine:
    """One stage in an InferenceSession.

    Args:
        session: of onnxruntime.
        stage: for its output names.
        weights: what the session refers to and does not own.
    """

    def __init__(self, session: Any, stage: StageRecord, weights: object) -> None:
        self._session, self._weights = session, weights
        self._outputs = [t.name for t in stage.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))


def open_bundle(bundle: Bundle, options: EngineOptions) -> dict[str, OnnxRuntimeEngine]:
    """Engines for all stages; graph and weights are read once, verified, and loaded from those very bytes."""
    return {name: _open_stage(bundle, stage, options) for name, stage in bundle.manifest.stages.items()}


def _open_stage(bundle: Bundle, stage: StageRecord, options: EngineOptions) -> OnnxRuntimeEngine:
    graph = bytes(bundle.open_verified(stage.graph))
    weights = {} if stage.weights is None else {stage.weights.rsplit("/", 1)[-1]: bundle.open_verified(stage.weights)}
    return open_session(stage, graph, weights, options)


def open_session(
    stage: StageRecord, graph: bytes, weights: Mapping[str, Any], options: EngineOptions
) -> OnnxRuntimeEngine:
    """An engine from a graph and its external data by file name, all in memory.

    Raises:
        BundleError: the graph takes data from elsewhere, cannot be loaded, or has another signature than its stage.
    """
    check_external_data(stage.graph, graph, weights.keys())
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime", "backend onnxruntime", "pip install vpp-edge") from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # Idle worker threads would spin and take the core that the control loop needs.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else bytes that look like ONNX Runtime's own format would be read as that, past the check above.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    arrays = external_weights(stage.graph, graph, weights)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    settings.add_external_initializers(list(arrays), values)
    try:
        session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own classes without a common base
        raise BundleError(
            f"stage {stage.name}: ONNX Runtime {onnxruntime.__version__} cannot load its graph: {error}"
        ) from error
    _check_signature(stage, session)
    return OnnxRuntimeEngine(session, stage, (weights, arrays, values))


def _check_signature(stage: StageRecord, session: Any) -> None:
    """Finds out at load, not at the first inference on the robot, whether graph and manifest belong together."""
    for kind, stated, found in (
        ("inputs", stage.inputs, session.get_inputs()),
        ("outputs", stage.outputs, session.get_outputs()),
    ):
        expected = [(t.name, _TYPES.get(t.dtype), list(t.shape)) for t in stated]
        got = [(t.name, t.type, t.shape) for t in found]
        if expected != got:
            raise BundleError(
                f"stage {stage.name}: the {kind} of its graph are {got}, its manifest states {expected}; refused. "
                "Export the bundle again."
            )
