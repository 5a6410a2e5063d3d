"""The result of a check of `vpp-edge doctor`, and how checks run other programs, which may hang or crash."""

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
    """One thing that this machine has, has in part, or is missing.

    Attributes:
        name: such as `mujoco` or `real-time scheduling`.
        status: OK, LIMITED or MISSING.
        detail: what was found, with versions and units.
        needed_for: the commands and options that need it.
        fix: the command to run, or what else to do; "" if nothing is wrong.
        required: no command works without it.
    """

    name: str
    status: str
    detail: str
    needed_for: str
    fix: str = ""
    required: bool = False


def run_python(code: str, environment: dict[str, str], timeout_s: float = PROBE_TIMEOUT_S) -> Any:
    """Runs Python code that prints one JSON value, in a separate process, because drivers may hang or crash.

    Returns:
        The value, or `{"error": reason}`.
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
            cwd=os.sep,  # `-c` puts the working directory on sys.path, and it may hold anything
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
    messages = answer.stderr.strip().splitlines()
    return {"error": messages[-1][:200] if messages else f"exit status {answer.returncode}"}


def run_command(*command: str, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """The stdout of a program; None if it is missing, fails or hangs."""
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout_s
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
