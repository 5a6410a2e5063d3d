"""Checks of the machine itself: Python, cores, memory, disk, shared memory, and real-time permissions."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from vpp_edge.doctor.checks import LIMITED, MISSING, OK, Check, run_python
from vpp_edge.machine_limits import memory_sizes_bytes
from vpp_edge.runtime.ipc.rings import room
from vpp_edge.wording import counted

GIB = 1024**3
PYTHONS = ((3, 10), (3, 13))
EXPORT_MEMORY_GIB = 20  # float32 weights of a full-size policy, their graph, and the activations of one inference
EXPORT_DISK_GIB = 15  # a full-size bundle next to the one being written
SHARED_MEMORY_BYTES = 128 * room.MIB  # three cameras at 1920 x 1080, six frames each, and the rings of the loop

# The limits file is read at the next login; the group keeps other users out.
LIMITS_FIX = (
    "printf '@realtime - rtprio 90\\n@realtime - memlock unlimited\\n'"
    " | sudo tee /etc/security/limits.d/90-vpp-edge.conf"
    " && sudo groupadd -f realtime && sudo usermod -aG realtime $USER, then log in again"
)
CONTAINER_FIX = "in a container: docker run --cap-add=SYS_NICE --ulimit rtprio=90 --ulimit memlock=-1"

REAL_TIME_PROBE = """
import ctypes, json, os
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    scheduling = True
except OSError:
    scheduling = False
print(json.dumps({"scheduling": scheduling, "locking": ctypes.CDLL(None).mlockall(ctypes.c_int(1)) == 0}))
"""


def check_host(folder: Path) -> list[Check]:
    """All checks of this file; `folder` is where bundles would be written."""
    return [check_python(), check_processor(), check_memory(), check_disk(folder), check_shared_memory(), *check_loop()]


def check_python(version: tuple[int, int] | None = None) -> Check:
    """Whether this Python is one that vpp-edge supports."""
    checked = sys.version_info[:2] if version is None else version
    fine = PYTHONS[0] <= checked <= PYTHONS[1]
    return Check(
        name="Python",
        status=OK if fine else MISSING,
        detail=f"{platform.python_implementation()} {platform.python_version()}" if version is None else f"{checked}",
        needed_for="every command",
        fix="" if fine else "create the virtual environment with Python 3.10 to 3.13: make venv PYTHON=python3.12",
        required=True,
    )


def check_processor() -> Check:
    """Cores that this process may use, and the name of the processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    too_few = cores < 2
    return Check(
        name="processor",
        status=LIMITED if too_few else OK,
        detail=f"{counted(cores, 'core')}, {platform.machine()}, {processor_name()}",
        needed_for="run: loop, policy and cameras in parallel",
        fix="give this process at least 2 cores (taskset, docker run --cpus)" if too_few else "",
    )


def processor_name() -> str:
    """The board of the device tree (Arm), else the processor of /proc/cpuinfo; "unknown processor" without either."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        pass
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware"))]
    return names[0] if names else platform.processor() or "unknown processor"


def check_memory() -> Check:
    """Free memory, compared with what the largest policy needs."""
    sizes = memory_sizes_bytes()
    total, available = sizes.get("MemTotal", 0) / GIB, sizes.get("MemAvailable", 0) / GIB
    too_little = available < EXPORT_MEMORY_GIB
    return Check(
        name="memory",
        status=LIMITED if too_little else OK,
        detail=f"{available:.1f} GiB free of {total:.1f} GiB",
        needed_for=f"export of a full-size policy: about {EXPORT_MEMORY_GIB} GiB (small ones: 2)",
        fix="export on a larger machine and copy the bundle here" if too_little else "",
    )


def check_disk(folder: Path) -> Check:
    """Free disk space for a bundle in `folder`."""
    free_gib = shutil.disk_usage(folder).free / GIB
    too_little = free_gib < EXPORT_DISK_GIB
    return Check(
        name="disk",
        status=LIMITED if too_little else OK,
        detail=f"{free_gib:.0f} GiB free in {folder}",
        needed_for=f"export of a full-size policy: about {EXPORT_DISK_GIB} GiB (small ones: 1)",
        fix="free some space, or export to another disk with -o" if too_little else "",
    )


def check_shared_memory(folder: Path = room.ROOM) -> Check:
    """Free shared memory for the rings that carry frames and actions between the processes of `run`."""
    needed_for = "run: frames and actions between its processes"
    if not folder.is_dir():
        fix = f"mount -t tmpfs tmpfs {folder}"
        return Check("shared memory", MISSING, f"there is no {folder}", needed_for, fix=fix)
    free = room.free_bytes(folder)
    too_little = free is not None and free < SHARED_MEMORY_BYTES
    return Check(
        name="shared memory",
        status=LIMITED if too_little else OK,
        detail="without a limit" if free is None else f"{free / room.MIB:.0f} MiB free",
        needed_for=f"{needed_for}; {SHARED_MEMORY_BYTES // room.MIB} MiB hold three cameras at 1920 x 1080",
        fix=room.REMEDY if too_little else "",
    )


def check_loop() -> list[Check]:
    """Whether the control loop may use real-time scheduling and lock its memory; tried in another process."""
    answer = run_python(REAL_TIME_PROBE, dict(os.environ))
    fix = CONTAINER_FIX if Path("/.dockerenv").exists() else LIMITS_FIX
    checks = []
    for name, key, without in (
        ("real-time scheduling", "scheduling", "the loop shares its core with everything else: expect late ticks"),
        ("memory locking", "locking", "the loop's memory can be paged out"),
    ):
        granted = bool(answer.get(key))
        detail = "permitted" if granted else f"not permitted ({answer.get('error', without)})"
        checks.append(
            Check(
                name=name,
                status=OK if granted else LIMITED,
                detail=detail,
                needed_for="run on a real hand",
                fix="" if granted else fix,
            )
        )
    return checks
