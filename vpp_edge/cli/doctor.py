"""`vpp-edge doctor`: reports what this machine can run, and how to install what is missing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

from vpp_edge.cli.libraries import LIBRARIES, install_command
from vpp_edge.doctor import devices, host, serial_ports
from vpp_edge.doctor.checks import MISSING, OK, Check
from vpp_edge.installing import installed_version, is_installed

HELP = """Report what this machine can run, and how to install what is missing.

  vpp-edge doctor             (a table; exit status 1 only when nothing can run)
  vpp-edge doctor --json      ({"checks": [{name, status, detail, needed_for, fix}], "can": {...}})"""

# The checks that each use needs; any status but "missing" is enough.
USES = {
    "export": ("numpy", "onnxruntime", "torch", "diffusers", "transformers", "safetensors", "onnx", "onnxscript"),
    "verify": ("numpy", "onnxruntime"),
    "profile": ("numpy", "onnxruntime", "tokenizers"),
    "run in simulation": ("numpy", "onnxruntime", "tokenizers", "mujoco", "rendering", "shared memory"),
    "run on videos": ("numpy", "onnxruntime", "tokenizers", "av", "RealSense SDK", "shared memory"),
    "run on cameras": ("numpy", "onnxruntime", "tokenizers", "RealSense SDK", "RealSense cameras", "shared memory"),
    "build engines for other machines": ("numpy", "tensorrt_rtx_bindings"),
    "run on TensorRT": ("numpy", "tokenizers", "tensorrt", "NVIDIA GPU", "cuda.bindings"),
    "run on TensorRT-RTX": ("numpy", "tokenizers", "tensorrt_rtx_bindings", "NVIDIA GPU", "cuda.bindings"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lacks", action="store_true", help="show only what is limited or missing")


def run(arguments: argparse.Namespace) -> int:
    checks = check_all(Path.cwd())
    can = uses_from_checks(checks)
    if arguments.json:
        print(json.dumps({"checks": [_as_json(c) for c in checks], "can": can}))
    else:
        shown = [c for c in checks if c.status != OK or not arguments.lacks]
        print(report_from_checks(shown, can, shutil.get_terminal_size((110, 24)).columns))
    return 1 if any(c.required and c.status == MISSING for c in checks) else 0


def check_all(folder: Path) -> list[Check]:
    """Every check; those that start other processes run in parallel."""
    slow: list[Callable[[], list[Check]]] = [
        lambda: host.check_host(folder),
        devices.check_accelerator,
        devices.check_engines,
        devices.check_rendering,
        devices.check_realsense,
        serial_ports.check_serial_ports,
    ]
    with ThreadPoolExecutor(max_workers=min(len(slow), 2 * (os.cpu_count() or 1))) as pool:
        about_host, about_gpu, *others = [f.result() for f in [pool.submit(check) for check in slow]]
    libraries = [check_library(module) for module in LIBRARIES]
    return [*about_host, *libraries, *about_gpu, *(check for group in others for check in group)]


def check_library(module: str) -> Check:
    """Whether a library is installed, and its version; does not import it."""
    library = LIBRARIES[module]
    installed = is_installed(module)
    return Check(
        name=module,
        status=OK if installed else MISSING,
        detail=(installed_version(LIBRARIES[module].distribution) or "version unknown")
        if installed
        else "not installed",
        needed_for=library.needed_for,
        fix="" if installed else install_command(module),
        required=library.extra == "",
    )


def uses_from_checks(checks: list[Check]) -> dict[str, bool]:
    """Which of USES this machine supports. A check that was skipped, as its library is missing, counts as missing."""
    present = {c.name for c in checks if c.status != MISSING}
    required = all(c.status != MISSING for c in checks if c.required)
    return {use: required and set(needs) <= present for use, needs in USES.items()}


def report_from_checks(checks: list[Check], can: dict[str, bool], width: int) -> str:
    """The report as text: one line per check, its fix below it, and at the end what this machine can run."""
    name_width = max((len(c.name) for c in checks), default=0)
    lines = []
    for check, following in zip_longest(checks, checks[1:]):
        line = f"{check.status:8}{check.name:{name_width}}  {check.detail}"
        lines.append(line if len(line) <= width else line[: max(width - 3, 20)] + "...")
        # Libraries that one command installs are adjacent; it is printed once, below the last of them.
        shared = following is not None and following.fix == check.fix
        if check.fix and not shared:
            lines += [f"{'':{name_width + 10}}for: {check.needed_for}", f"{'':{name_width + 10}}fix: {check.fix}"]
    able, unable = ([use for use, possible in can.items() if possible is wanted] for wanted in (True, False))
    lines += ["", f"This machine can: {', '.join(able) or 'nothing yet'}."]
    lines += [f"Not yet: {', '.join(unable)}."] if unable else []
    return "\n".join(lines)


def _as_json(check: Check) -> dict[str, str]:
    return {key: value for key, value in asdict(check).items() if key != "required"}
