"""How a session of ONNX Runtime is set up: in, engine options; out, its SessionOptions.

What stands here differs from ONNX Runtime's defaults for a reason; what does not was measured, or left alone.
`benchmarks/onnxruntime_options.py` makes the figures.
"""

from __future__ import annotations

from typing import Any

from vpp_edge.engine import EngineOptions

_ERRORS, _WARNINGS = 3, 2


def session_settings(options: EngineOptions) -> Any:
    """SessionOptions for one stage."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    # ONNX Runtime warns about single operators that a GPU's provider leaves to the CPU: that must not be silent.
    settings.log_severity_level = _ERRORS if options.provider in (None, "cpu") else _WARNINGS
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # Idle worker threads would spin and take the core that the control loop needs.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else bytes that look like ONNX Runtime's own format would be read as that, past the check of their data.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    return settings
