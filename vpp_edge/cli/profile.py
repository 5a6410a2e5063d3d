"""`vpp-edge profile`: measures the latency of a bundle's stages here, or predicts it for another device."""

from __future__ import annotations

import argparse
import json
import os
import platform
from contextlib import ExitStack
from pathlib import Path

from vpp_edge.bundle.engine import ONNXRUNTIME
from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.cli.completion_scripts import offered_for
from vpp_edge.cli.engine_arguments import (
    ALL_CORES,
    BACKENDS,
    add_checkpoint_argument,
    add_engine_arguments,
    add_threads_argument,
)
from vpp_edge.cli.numbers import Number
from vpp_edge.doctor.host import processor_name
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import COUNT, COUNT_OR_NONE
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.profile.roofline.costs import ENABLE, SPARSITIES
from vpp_edge.progress import Progress
from vpp_edge.wording import counted

HELP = """Measure the latency of every stage on this machine, or predict it for another device.

  vpp-edge profile my_bundle/ --inferences 50
  vpp-edge profile my_bundle/ --compare torch        (ratio to the eager PyTorch model, measured alternately)
  vpp-edge profile my_bundle/ --roofline orin-agx-64gb --precision int8      (counts operations and bytes)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    add_engine_arguments(parser)
    second = parser.add_argument(
        "--compare", metavar="BACKEND", help="second backend, measured alternately with the first"
    )
    offered_for(second, BACKENDS)
    add_checkpoint_argument(parser)
    parser.add_argument(
        "--inferences", type=Number(COUNT), default=20, metavar="N", help="measured inferences per backend (20)"
    )
    parser.add_argument(
        "--warmup", type=Number(COUNT_OR_NONE), default=3, metavar="N", help="warm-up inferences, not measured (3)"
    )
    add_threads_argument(parser, default=ALL_CORES)
    parser.add_argument(
        "--roofline",
        choices=tuple(DEVICES),
        metavar="DEVICE",
        help=f"predict for this device instead of measuring: {', '.join(DEVICES)}",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="for --roofline: predict for this precision (that of the bundle)"
    )
    parser.add_argument(
        "--sparsity",
        choices=SPARSITIES,
        help="for --roofline: sparse kernels where weights are 2:4 sparse (enable), nowhere (disable), or as if all "
        "large weights were (force)",
    )
    parser.add_argument(
        "--top",
        type=Number(COUNT_OR_NONE),
        default=10,
        metavar="N",
        help="for --roofline: how many layers to list (10)",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.roofline is not None:
        return _predict(arguments)
    if arguments.precision is not None:
        raise BadInputError("--precision is for --roofline DEVICE; a measurement uses the precision of the bundle")
    if arguments.sparsity is not None:
        raise BadInputError("--sparsity is for --roofline DEVICE; a measurement uses the engines that were built")
    return _measure(arguments)


def _predict(arguments: argparse.Namespace) -> int:
    from vpp_edge.bundle.manifest import Bundle
    from vpp_edge.profile.roofline.prediction import predict_bundle
    from vpp_edge.profile.roofline.prediction_table import lines_of_prediction

    if arguments.compare:
        raise BadInputError("--compare needs a measurement, and --roofline only predicts; leave one of them out")
    bundle, device = Bundle(arguments.bundle), DEVICES[arguments.roofline]
    prediction = predict_bundle(bundle, device, arguments.precision, arguments.sparsity or ENABLE)
    if arguments.json:
        print(json.dumps({"bundle": str(arguments.bundle), **prediction.to_json(arguments.top)}))
    else:
        print("\n".join(lines_of_prediction(prediction, str(arguments.bundle), arguments.top)))
    return 0


def _measure(arguments: argparse.Namespace) -> int:
    from vpp_edge.bundle.engine import check_provider_belongs
    from vpp_edge.profile.latency import STAGES, profile_policies
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy

    backends = [arguments.backend] + ([arguments.compare] if arguments.compare else [])
    if len(set(backends)) < len(backends):
        raise BadInputError(f"--compare {arguments.compare} is the measured backend itself; name another one")
    if ONNXRUNTIME not in backends:
        check_provider_belongs(arguments.backend, arguments.provider)
    providers = {b: arguments.provider if b == ONNXRUNTIME else None for b in backends}
    steps = [("load", 5.0), ("measure", 1.0 * arguments.inferences)]
    with Progress("profile", steps, quiet=arguments.quiet) as progress, ExitStack() as loaded:
        progress.step("load")
        policies = {
            b: loaded.enter_context(
                EdgePolicy.load(
                    arguments.bundle,
                    b,
                    threads=arguments.threads,
                    seed=0,
                    checkpoint=arguments.checkpoint,
                    provider=providers[b],
                )
            )
            for b in backends
        }
        progress.step("measure")
        profile = profile_policies(
            policies, arguments.inferences, arguments.warmup, lambda done, of: progress("measure", done / of)
        )
    machine = {
        "machine": platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    speedup = profile.speedup(*backends) if arguments.compare else None
    if arguments.json:
        latencies = {
            b: {s: latency.to_json() for s, latency in stages.items()} for b, stages in profile.latencies.items()
        }
        print(
            json.dumps(
                {"latency": latencies, "speedup": speedup, "compared_with": arguments.compare, "machine": machine}
            )
        )
        return 0
    print(
        f"{arguments.bundle} on {machine['processor']}, {counted(os.cpu_count() or 1, 'core')}: "
        f"{counted(arguments.inferences, 'inference')} after {arguments.warmup}"
    )
    print(
        f"{'backend':<14} {'stage':<10} {'p50':>10} {'p90':>10} {'p99':>10} {'max':>10}   (ms; total = perceive + act)"
    )
    for backend, stages in profile.latencies.items():
        for stage in STAGES:
            t = stages[stage]
            print(f"{backend:<14} {stage:<10} {t.p50_ms:>10.2f} {t.p90_ms:>10.2f} {t.p99_ms:>10.2f} {t.max_ms:>10.2f}")
    if speedup is not None:
        ratios = ", ".join(f"{stage} {ratio:.2f}x" for stage, ratio in speedup.items())
        print(f"{arguments.backend} against {arguments.compare}, ratio of medians in the same run: {ratios}")
    return 0
