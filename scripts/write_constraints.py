"""Write constraints/python-X.Y.txt: the exact version of every package that `pip install -e .[cpu,dev]` installs on a
machine without a GPU, so that `make venv` gives the same environment in a year.

usage: python scripts/write_constraints.py PYTHON [PYTHON ...]     (each must have pip)
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU = ("realsense", "sim", "video", "log", "leap", "inspire", "export", "lerobot", "distill")
EXTRAS = (*CPU, "kernels", "ray", "tensorrt-rtx", "dev")
# torch from the package index depends on CUDA packages, and accelerate on torch. torch's CPU build, which may be on
# another index, and accelerate need only these.
TORCH_BASED = ("torch", "accelerate")
TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "setuptools>=77.0.3", "sympy>=1.13.3", "typing-extensions")
ACCELERATE_NEEDS = ("huggingface-hub", "numpy", "packaging", "psutil", "pyyaml", "safetensors")


def main(pythons: list[str]) -> int:
    if not pythons:
        print(__doc__, file=sys.stderr)
        return 2
    wanted = direct_requirements()
    torch_based = [r for r in wanted if r.partition("==")[0] in TORCH_BASED]
    wanted = [*(r for r in wanted if r not in torch_based), *TORCH_NEEDS, *ACCELERATE_NEEDS]
    for python in pythons:
        version = _output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
        options = ("install", "--quiet", "--quiet", "--dry-run", "--ignore-installed", "--report", "-")
        report = json.loads(_output(python, "-m", "pip", *options, *wanted))
        pins = [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in report["install"]]
        path = ROOT / "constraints" / f"python-{version}.txt"
        path.parent.mkdir(exist_ok=True)
        lines = ["# Written by `make lock`; not by hand.", *sorted([*pins, *torch_based], key=str.lower), ""]
        path.write_text("\n".join(lines), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(pins) + len(torch_based)} packages")
    return 0


def direct_requirements() -> list[str]:
    """The base requirements and those of EXTRAS, without the `extra ==` part of their markers."""
    found = []
    for line in requires("vpp-edge") or ():
        extra = re.search(r"""(?: and |; *)extra == ["']([\w-]+)["']""", line)
        if (extra is None or extra[1] in EXTRAS) and not line.startswith("vpp-edge"):
            found.append(line.replace(extra[0], "") if extra else line)
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
