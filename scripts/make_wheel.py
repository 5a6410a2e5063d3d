"""Builds the wheel for robots: this package with its demo policy exported, so that a robot can play it.

    python scripts/make_wheel.py dist/

Without this script (`pip wheel .`) the wheel has the policy's checkpoint only, which is exported where PyTorch is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vpp_edge.demo.bundle import DemoOptions, demo_bundle

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} FOLDER", file=sys.stderr)
        return 2
    bundle = demo_bundle(ROOT / "build" / "demo", DemoOptions(), fresh=False, quiet=False)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", sys.argv[1], str(ROOT)]
    return subprocess.run(command, env=os.environ | {"VPP_EDGE_DEMO_BUNDLE": str(bundle)}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
