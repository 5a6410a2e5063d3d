"""What every check of `vpp-edge doctor` gives: in, questions to this machine; out, Checks, even when a driver hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

OK, LIMITED, MISSING = "ok", "limited", "missing"
PROBE_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Check:
    """One thing that this machine has, has in part, or lacks.

    Attributes:
        name: such as `mujoco` or `real-time scheduling`.
        status: OK, LIMITED or MISSING.
        detail: what was found, with versions and units.
        needed_for: the commands and options that need it.
        fix: the command to type, or what else to do; "" when all is well.
        required: no command works without it.
    """

    name: str
    status: str
    detail: str
    needed_for: str
    fix: str = ""
    required: bool = False


def ask_python(code: str, environment: dict[str, str], timeout_s: float = PROBE_TIMEOUT_S) -> Any:
    """Runs Python code that prints one JSON value, in a process of its own: drivers may hang or crash.

    Returns:
        The value; or a text that says why there is none, as `{"error": text}`.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment,
            cwd=os.sep,  # `-c` puts the working directory on sys.path, where anything may lie
        )
        lines = answer.stdout.strip().splitlines()
        if answer.returncode == 0 and lines:
            return json.loads(lines[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {timeout_s:.0f} s"}
    except (OSError, json.JSONDecodeError) as error:
        return {"error": str(error)}
    if answer.returncode < 0:
        return {"error": f"ended by signal {-answer.returncode}"}
    said = answer.stderr.strip().splitlines()
    return {"error": said[-1][:200] if said else f"exit status {answer.returncode}"}


def ask_command(*command: str, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """What a program prints; None when it is not there, fails or hangs."""
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout_s
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
