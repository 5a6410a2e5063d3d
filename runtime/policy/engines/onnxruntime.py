"""Runs the stages of a bundle on ONNX Runtime, from verified graph and weight bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BundleError, MissingDependencyError
from vpp_edge.installing import pip_install
from vpp_edge.runtime.policy.engines.execution_providers import chain, check_available, check_started, not_started
from vpp_edge.runtime.policy.engines.onnx_scan import check_external_data
from vpp_edge.runtime.policy.engines.onnx_weights import external_weights
from vpp_edge.runtime.policy.engines.onnxruntime_settings import session_settings

_TYPES = {
    "float32": "tensor(float)",
    "float16": "tensor(float16)",
    "int64": "tensor(int64)",
    "int32": "tensor(int32)",
    "uint8": "tensor(uint8)",
    "bool": "tensor(bool)",
}


class OnnxRuntimeEngine:
    """One stage in an InferenceSession.

    Args:
        session: an onnxruntime.InferenceSession.
        stage: the stage that it runs.
        weights: memory that the session refers to but does not own.
    """

    def __init__(self, session: Any, stage: StageRecord, weights: Any) -> None:
        self._session, self._weights = session, weights
        self._outputs = [t.name for t in stage.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def close(self) -> None:
        self._session = self._weights = None


def open_bundle(bundle: Bundle, options: EngineOptions) -> dict[str, OnnxRuntimeEngine]:
    """Engines for all stages; graph and weights are read once, verified, and loaded from these bytes."""
    return {name: _open_stage(bundle, stage, options) for name, stage in bundle.manifest.stages.items()}


def _open_stage(bundle: Bundle, stage: StageRecord, options: EngineOptions) -> OnnxRuntimeEngine:
    graph = bytes(bundle.open_verified(stage.graph))
    weights = {} if stage.weights is None else {stage.weights.rsplit("/", 1)[-1]: bundle.open_verified(stage.weights)}
    return open_session(stage, graph, weights, options)


def open_session(
    stage: StageRecord, graph: bytes, weights: Mapping[str, Any], options: EngineOptions, settings: Any = None
) -> OnnxRuntimeEngine:
    """An engine from a graph and its external data by file name, all in memory.

    Args:
        settings: SessionOptions instead of `session_settings(options)`, for measurements.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed, or was built without the provider.
        BadInputError: the provider does not start here.
        BundleError: the graph refers to other data, cannot be loaded, or its signature differs from the stage's.
    """
    check_external_data(stage.graph, graph, weights.keys())
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime", "backend onnxruntime", pip_install()) from error
    check_available(options.provider)
    settings = settings or session_settings(options)
    arrays = external_weights(stage.graph, graph, weights)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
    settings.add_external_initializers(list(arrays), values)
    try:
        # Otherwise a failing provider is replaced by the CPU, with only a line on stdout.
        session = onnxruntime.InferenceSession(graph, settings, providers=chain(options.provider), enable_fallback=0)
    except Exception as error:  # onnxruntime raises its own classes without a common base
        if options.provider not in (None, "cpu"):
            raise not_started(options.provider, str(error)) from error
        raise BundleError(
            f"stage {stage.name}: ONNX Runtime {onnxruntime.__version__} cannot load its graph: {error}"
        ) from error
    check_started(options.provider, session)
    _check_signature(stage, session)
    return OnnxRuntimeEngine(session, stage, (weights, arrays, values))


def _check_signature(stage: StageRecord, session: Any) -> None:
    """Checks at load time, not at the first inference, that the graph has the signature of the manifest."""
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
