"""How well the control loop keeps its period on a busy machine; writes the timing table of docs/safety.md.

    python benchmarks/control_loop.py --seconds 600 --write docs/safety.md

Each row is a separate run in a new process: the demo policy, simulated cameras and hand, and the requested number of
hogs, processes that each keep one core busy.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from documents import put_table

from vpp_edge.demo.bundle import DemoOptions, demo_bundle
from vpp_edge.doctor.host import processor_name

PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
ENGINES = ("torch", "onnxruntime", "tensorrt", "libnvinfer")
SETTLE_S = 30.0  # caches are filled by then; memory is compared from there on


def burn() -> None:
    """Keeps one core busy for ever."""
    while True:
        pass


def measured(bundle: Path, seconds: float, real_time: bool, hogs: int) -> dict[str, Any]:
    """One run: its report, and the memory and loaded engine libraries of its control process."""
    burners = [multiprocessing.get_context("spawn").Process(target=burn, daemon=True) for _ in range(hogs)]
    for burner in burners:
        burner.start()
    command = [
        str(Path(sys.executable).with_name("vpp-edge")), "run", str(bundle), "--camera", "software:sim/top", "--camera",
        "software:sim/side", "--hand", "sim", "--instruction", "press the red button", "--duration", str(seconds),
        "--json", "--quiet", *([] if real_time else ["--no-real-time"]),
    ]  # fmt: skip
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        samples: list[tuple[float, float]] = []
        libraries: set[str] = set()
        watcher = threading.Thread(target=_watch, args=(process, samples, libraries), daemon=True)
        watcher.start()
        answer = json.loads(process.communicate()[0])
        watcher.join()
    finally:
        for burner in burners:
            burner.kill()
    late = [mib for at_s, mib in samples if at_s > SETTLE_S]
    return {
        "real_time": real_time,
        "hogs": hogs,
        "engines": sorted(libraries),
        "report": answer,
        "memory_mib": (late[0], late[-1]) if late else None,
    }


def _watch(process: subprocess.Popen[str], samples: list[tuple[float, float]], libraries: set[str]) -> None:
    begun_s = time.monotonic()
    while process.poll() is None:
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            maps = Path(f"/proc/{process.pid}/maps").read_text()
        except (OSError, IndexError):
            return
        samples.append((time.monotonic() - begun_s, pages * PAGE_MIB))
        libraries.update(name for name in ENGINES if f"/{name}" in maps)
        time.sleep(1)


def line_of(row: dict[str, Any]) -> str:
    """One row of the table."""
    report, loop = row["report"], row["report"]["control"]["loop"]
    scheduling = next(note.partition(": ")[2] for note in report["notes"] if note.startswith("scheduling"))
    lateness, memory = loop["lateness_ms"], row["memory_mib"]
    grown = "-" if memory is None else f"{memory[0]:.1f} to {memory[1]:.1f}"
    return (
        f"| {scheduling} | {row['hogs']} | {report['seconds']:.0f} | {loop['rate_hz']:.2f} | {loop['missed']} "
        f"(longest run {loop['longest_miss_run']}) | {lateness['p50']:.2f} | {lateness['p99']:.2f} | "
        f"{lateness['p99.9']:.2f} | {lateness['max']:.2f} | {report['policy']['rate_hz']:.1f} | {grown} | "
        f"{', '.join(row['engines']) or 'none'} |"
    )


def table(rows: list[dict[str, Any]]) -> str:
    head = (
        "| scheduling | hogs | seconds | Hz | missed periods | lateness p50, ms | p99 | p99.9 | max | policy, Hz | "
        "control memory, MiB | engines in control |"
    )
    where = f"{os.cpu_count()} cores of {processor_name()}, {date.today()}."
    return "\n".join([where, "", head, "|---" * 12 + "|", *map(line_of, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="duration of each run (60)")
    parser.add_argument("--hogs", type=int, default=1, help="processes that each keep a core busy (1)")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), help="folder for the demo's bundle")
    parser.add_argument("--write", type=Path, help="document whose table is replaced")
    arguments = parser.parse_args()
    bundle = demo_bundle(arguments.output, DemoOptions(), fresh=False, quiet=True)
    rows = []
    for real_time, hogs in ((True, arguments.hogs), (False, arguments.hogs)):
        rows.append(measured(bundle, arguments.seconds, real_time, hogs))
        print(line_of(rows[-1]), flush=True)
    if arguments.write is not None:
        put_table(arguments.write, "control_loop.py", table(rows))


if __name__ == "__main__":
    main()
