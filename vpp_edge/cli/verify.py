"""`vpp-edge verify`: checks that a bundle still acts like the policy it was exported from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vpp_edge.cli.certificate_text import segment_line
from vpp_edge.cli.engine_arguments import ALL_CORES, add_engine_arguments, add_threads_argument
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError
from vpp_edge.number_range import COUNT, SEED

HELP = """Compare a bundle with its checkpoint or with recorded outputs.

First every file is hashed, and the parity certificate must be within its limits. Then the stages run on the same inputs
and noise as the reference. That is one of: the observations stored in the bundle with their float32 results, which need
nothing else and so work on the robot, on any backend; the eager PyTorch model of the checkpoint that the bundle was
exported from; another bundle of the same policy, on the observations stored in the first one; or the recorded cases of
a golden .npz.

  vpp-edge verify my_bundle/                         (against the observations stored in it)
  vpp-edge verify my_bundle/ my_checkpoint/          (against the eager PyTorch model, on random observations)
  vpp-edge verify my_int8_bundle/ my_bundle/         (each stage on the same inputs, the whole chain, and the actions)
  vpp-edge verify my_bundle/ io.npz                  (its instructions are in spec.json next to it)
  vpp-edge verify my_bundle/ --hashes-only"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "reference",
        nargs="?",
        type=Path,
        metavar="REFERENCE",
        help="checkpoint folder, other bundle or golden .npz (the observations stored in the bundle)",
    )
    parser.add_argument("--golden", type=Path, metavar="NPZ", help="the same as REFERENCE, for a golden .npz")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="CKPT", help="the same as REFERENCE, for a checkpoint folder"
    )
    parser.add_argument("--hashes-only", action="store_true", help="check the files against the manifest only")
    add_engine_arguments(parser)
    add_threads_argument(parser, default=ALL_CORES)
    parser.add_argument(
        "--samples",
        type=Number(COUNT),
        default=2,
        metavar="N",
        help="random observations to compare with a checkpoint (2)",
    )
    parser.add_argument("--seed", type=Number(SEED), default=1, help="seed of these observations (1)")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.verification.verify import VerifyOptions, verify_bundle

    references = [r for r in (arguments.reference, arguments.golden, arguments.checkpoint) if r is not None]
    if len(references) + arguments.hashes_only > 1:
        raise BadInputError("pass one reference: a checkpoint folder, another bundle, a golden .npz, or --hashes-only")
    options = VerifyOptions(
        reference=references[0] if references else None,
        hashes_only=arguments.hashes_only,
        backend=arguments.backend,
        provider=arguments.provider,
        threads=arguments.threads,
        samples=arguments.samples,
        seed=arguments.seed,
    )
    result = verify_bundle(arguments.bundle, options)
    if arguments.json:
        print(json.dumps(result.to_json()))
        return 0 if result.passed else 1
    print(f"{arguments.bundle}: {result.files} files are as the manifest states")
    for problem in result.certificate_problems:
        print(f"certificate over its limit: {problem}")
    for note in result.notes:
        print(f"note: {note}")
    width = max([4, *(len(c.case) for c in result.checks)])
    if result.checks:
        print(f"{'case':>{width}}  {'tensor':<12} {'max error':>10} {'rel. RMS':>10} {'cosine':>10}  allowed")
    for c in result.checks:
        verdict = "ok" if c.passed else "FAILED"
        e = c.errors
        print(
            f"{c.case:>{width}}  {c.tensor:<12} {e.max_relative:>10.1e} {e.rms_relative:>10.1e} {e.cosine:>10.7f} "
            f" {c.limit!s:<20}  {verdict}"
        )
    if result.physical:
        print("actions, end to end over all cases")
        print("\n".join(map(segment_line, result.physical)))
    if not result.passed:
        print("FAILED: this bundle does not act like its reference; do not run it. Export it again and verify.")
    return 0 if result.passed else 1
