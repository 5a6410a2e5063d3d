"""Options that choose the engine library of a bundle, shared by the commands that run one."""

from __future__ import annotations

import argparse
from pathlib import Path

from vpp_edge.bundle.engine import ONNXRUNTIME, PRECISION_FROM_CHECKPOINT, PROVIDERS, THREADS
from vpp_edge.cli.completion_scripts import offered_for
from vpp_edge.cli.numbers import Number
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES

BACKENDS = (ONNXRUNTIME, *LIBRARIES, *PRECISION_FROM_CHECKPOINT)  # of this package; others can be installed
ALL_CORES, ALL_CORES_BUT_ONE = "all cores", "all cores but one"


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --backend and --provider."""
    backend = parser.add_argument(
        "--backend", default=ONNXRUNTIME, metavar="NAME", help=f"engine: {', '.join(BACKENDS)} ({ONNXRUNTIME})"
    )
    offered_for(backend, BACKENDS)
    names = f"{', '.join(PROVIDERS[:-1])} or {PROVIDERS[-1]}"
    provider = parser.add_argument(
        "--provider", metavar="NAME", help=f"execution provider of ONNX Runtime: {names} ({PROVIDERS[0]})"
    )
    offered_for(provider, PROVIDERS)


def add_threads_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --threads; `default` is what the help says of leaving it out."""
    parser.add_argument("--threads", type=Number(THREADS), metavar="N", help=f"CPU threads of the engine ({default})")


def add_checkpoint_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --checkpoint for the backends that run the checkpoint instead of the bundle's graphs."""
    backends = " and ".join(PRECISION_FROM_CHECKPOINT)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="CKPT",
        help=f"for backends {backends}: the checkpoint folder, if it has moved since the export",
    )
