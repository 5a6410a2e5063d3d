"""Time as a busy machine does not change it: CPU seconds, and a limit that only ends what hangs."""

from __future__ import annotations

import resource
import subprocess
from typing import Any

HANGS_S = 600.0  # for processes that tests start: with ten other jobs on the machine, a minute becomes ten


def run_measured(command: list[str], **options: Any) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs a command and captures its output as text; the result, and the CPU seconds that it and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S, check=False, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
