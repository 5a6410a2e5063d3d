"""The SessionOptions of ONNX Runtime for our engines, and why.

Ratios are medians of paired runs against these settings, made by `benchmarks/onnxruntime_options.py`; above 1 is
slower. ONNX Runtime 1.32.0, 2026-11-22, two x86-64 cores shared with other work (so 0.95 to 1.05 is insignificant), an
untrained policy with weights of 139 MB in perceive and 72 MB in act. Defaults that are kept, as nothing was better:

- all graph optimizations: basic ones only 1.10 to 1.23 in perceive and 0.98 to 1.00 in act;
- sequential execution: parallel 1.59 and 1.22; a worker per core: twice as many 1.18 and 1.26;
- the arena: without it 1.11 and 1.00, though at 841 instead of 1309 MiB in perceive; memory patterns: without 1.05 and
  1.02, at 1030 MiB; prepacked weights: without 1.09 and 1.31, at the same memory;
- denormal numbers (flushed to zero: 0.98 to 1.01, and different results); block sizes (4: 1.01 and 1.01).
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
        # ONNX Runtime warns about operators that a GPU provider leaves to the CPU: this must not be silent.
        settings.log_severity_level = _WARNINGS
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # Spinning is 0.94 in perceive and 0.69 to 0.82 in act on a mostly idle machine, but 1.26 in perceive on a busy one:
    # spinning threads take cores from the control loop, cameras and recorder. It is off in measurements too, because
    # they must measure what the robot runs.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise bytes in ONNX Runtime's own format would be accepted, bypassing the check of external data.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    return settings
