"""How a session of ONNX Runtime is set up: in, engine options; out, its SessionOptions.

Ratios are medians of paired runs against these settings (`benchmarks/onnxruntime_options.py` makes them); above 1 is
slower. ONNX Runtime 1.32.0, 2026-11-22, two x86-64 cores that other work shared (so 0.95 to 1.05 says nothing), an
untrained policy with weights of 139 MB in perceive and 72 MB in act. Defaults that stay, for want of a better:

- every graph optimization: basic ones only 1.10 to 1.23 in perceive and 0.98 to 1.00 in act;
- sequential execution: parallel 1.59 and 1.22; a worker per core: twice as many 1.18 and 1.26;
- the arena: without it 1.11 and 1.00, though at 841 instead of 1309 MiB in perceive; memory patterns: without 1.05 and
  1.02, at 1030 MiB; prepacked weights: without 1.09 and 1.31, at the same memory;
- denormal numbers stay what they are (as zeros 0.98 to 1.01, and other results); block sizes too (4: 1.01 and 1.01).
"""

from __future__ import annotations

from typing import Any

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.cpu_session import exact_settings

_WARNINGS = 2


def session_settings(options: EngineOptions) -> Any:
    """SessionOptions for one stage."""
    settings = exact_settings()
    if options.provider not in (None, "cpu"):
        # ONNX Runtime warns about single operators that a GPU's provider leaves to the CPU: that must not be silent.
        settings.log_severity_level = _WARNINGS
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # Spinning is 0.94 in perceive and 0.69 to 0.82 in act while few others work, and 1.26 in perceive while others do:
    # beside a control loop, cameras and a recorder, threads that wait take their cores. It stays off for measurements
    # too, which are of what the robot runs.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else bytes that look like ONNX Runtime's own format would be read as that, past the check of their data.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    return settings
