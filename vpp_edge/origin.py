"""Where a result comes from: the date, the versions and the machine that belong to everything that was measured."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from typing import Any

from vpp_edge import __version__
from vpp_edge.installing import installed_version

LIBRARIES = ("numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "torch")


def origin_of_results() -> dict[str, Any]:
    """`date` (UTC, to the minute), `versions` of this package and of the libraries that compute, and `machine`."""
    found = {"vpp-edge": __version__, "Python": platform.python_version()}
    found |= {name: number for name in LIBRARIES if (number := installed_version(name)) is not None}
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": found,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def versions_line(origin: dict[str, Any]) -> str:
    """`vpp-edge 0.1.0, Python 3.12.1, ...`."""
    return ", ".join(f"{name} {number}" for name, number in origin["versions"].items())
