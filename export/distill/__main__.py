"""`accelerate launch -m vpp_edge.export.distill CKPT --data ...`: `vpp-edge distill` on all GPUs or nodes."""

import sys

from vpp_edge.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["distill", *sys.argv[1:]]))
