"""`vpp-edge verify`: in, a bundle; out, whether it still acts like the policy it was exported from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError

if TYPE_CHECKING:
    from vpp_edge.verification.verify import Check

HELP = """Compare a bundle with its checkpoint or with recorded outputs.

Every file is hashed first, and the parity certificate must be within its limits. Then the stages run on the same
inputs and noise as the reference: a few observations that the bundle keeps with what float32 made of them, which needs
nothing else and so works on the robot, on the backend that is there; the eager PyTorch model of the checkpoint that
the bundle was exported from; or the recorded cases of a golden .npz.

  vpp-edge verify my_bundle/                         (against the observations that it keeps)
  vpp-edge verify my_bundle/ my_checkpoint/          (against the eager PyTorch model, on random observations)
  vpp-edge verify my_bundle/ io.npz                  (spec.json with the instructions lies beside it)
  vpp-edge verify my_bundle/ --hashes-only"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "reference",
        nargs="?",
        type=Path,
        metavar="REFERENCE",
        help="checkpoint folder or golden .npz (what the bundle keeps)",
    )
    parser.add_argument("--golden", type=Path, metavar="NPZ", help="the same as REFERENCE, for a golden .npz")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="CKPT", help="the same as REFERENCE, for a checkpoint folder"
    )
    parser.add_argument("--hashes-only", action="store_true", help="check the files against the manifest only")
    parser.add_argument("--backend", default="onnxruntime", help="what runs the bundle (onnxruntime)")
    parser.add_argument("--provider", metavar="NAME", help="of ONNX Runtime: cpu, cuda or tensorrt (cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (all)")
    parser.add_argument(
        "--samples", type=int, default=2, metavar="N", help="random observations against the checkpoint (2)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of those observations (1)")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.bundle.certificate import certificate_from_json
    from vpp_edge.bundle.manifest import Bundle

    if arguments.samples < 1:
        raise BadInputError("--samples must be at least 1")
    references = [r for r in (arguments.reference, arguments.golden, arguments.checkpoint) if r is not None]
    if len(references) + arguments.hashes_only > 1:
        raise BadInputError("pass one reference: a checkpoint folder, a golden .npz, or --hashes-only")
    bundle = Bundle(arguments.bundle)
    bundle.verify_all()
    problems = certificate_from_json(bundle.manifest.certificate).problems()
    checks = [] if arguments.hashes_only else _checks(arguments, references[0] if references else None)
    passed = all(c.passed for c in checks) and not problems
    if arguments.json:
        files = len(bundle.manifest.files)
        print(json.dumps({"passed": passed, "files_verified": files, "certificate_problems": problems,
                          "checks": [c.to_json() for c in checks]}))  # fmt: skip
        return 0 if passed else 1
    print(f"{arguments.bundle}: {len(bundle.manifest.files)} files are as the manifest states")
    for problem in problems:
        print(f"certificate over its limit: {problem}")
    if checks:
        print(f"{'case':>4}  {'tensor':<12} {'max error':>10} {'rel. RMS':>10} {'cosine':>10}  allowed")
    for c in checks:
        verdict = "ok" if c.passed else "FAILED"
        e = c.errors
        print(
            f"{c.case:>4}  {c.tensor:<12} {e.max_relative:>10.1e} {e.rms_relative:>10.1e} {e.cosine:>10.7f} "
            f" {c.limit!s:<20}  {verdict}"
        )
    if not passed:
        print("FAILED: this bundle does not act like its reference; do not run it. Export it again and verify.")
    return 0 if passed else 1


def _checks(arguments: argparse.Namespace, reference: Path | None) -> list[Check]:
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy
    from vpp_edge.verification.verify import verify_checkpoint, verify_golden, verify_kept

    policy = EdgePolicy.load(
        arguments.bundle, arguments.backend, threads=arguments.threads, provider=arguments.provider
    )
    if reference is None:
        return verify_kept(policy)
    if not reference.is_dir():
        return verify_golden(policy, reference)
    eager = EdgePolicy.load(arguments.bundle, "torch", checkpoint=reference)
    return verify_checkpoint(policy, eager, arguments.samples, arguments.seed)
