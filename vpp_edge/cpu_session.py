"""ONNX Runtime sessions on the CPU that compute INT8 products exactly as the graph states them.

On x86-64, ONNX Runtime makes signed activations unsigned. Where the processor has no VNNI (AVX2 only, for one), it then
multiplies them with signed weights in pairs whose sum is cut off at 16 bits: a product of random numbers is off by 9 %
of its largest result. Left signed, as `session.qdqisint8allowed` allows, they are multiplied exactly. (The setting that
is meant for this, `session.x64quantprecision`, makes ONNX Runtime 1.32 refuse graphs that share a weight.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_ERRORS = 3


def exact_settings() -> Any:
    """SessionOptions with exact INT8 products that log errors only."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _ERRORS
    settings.add_session_config_entry("session.qdqisint8allowed", "1")
    return settings


def cpu_session(graph: Path | bytes, settings: Any = None) -> Any:
    """A session from a file or from the bytes of a model.

    Args:
        settings: SessionOptions; `exact_settings()` when left out.
    """
    import onnxruntime

    settings = exact_settings() if settings is None else settings
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
