"""`vpp-edge export`: in, a trained checkpoint; out, a bundle."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError
from vpp_edge.progress import Progress

HELP = """Turn a trained checkpoint into a bundle that a robot can run.

Writes the stages text, perceive and act as ONNX, compares each with the PyTorch model on the spot, and writes the
manifest with hashes and parity certificate. Nothing is left behind when it fails or is interrupted.

--steps, --solver and --frames make a faster policy that is not quite the trained one; how far its actions are from
those of the trained one is measured, printed and kept in the bundle.

  vpp-edge export my_checkpoint/ -o my_bundle/
  vpp-edge export --video-model svd/ --text-encoder clip/ --policy policy.pt -o my_bundle/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, metavar="CKPT", help="folder with svd/, clip/ and policy.pt"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="bundle folder to write")
    parser.add_argument("--video-model", type=Path, metavar="DIR", help="svd/ folder, where the parts lie apart")
    parser.add_argument("--text-encoder", type=Path, metavar="DIR", help="clip/ folder, where the parts lie apart")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="policy.pt, where the parts lie apart")
    parser.add_argument("--precision", choices=("fp32",), default="fp32", help="of the stages (fp32)")
    parser.add_argument("--steps", type=int, metavar="N", help="sampling steps of the action head (as trained)")
    parser.add_argument("--solver", choices=("ddim", "dpmpp_2m"), help="sampler of the action head (as trained)")
    parser.add_argument(
        "--frames", type=int, metavar="K", help="frames that the video model computes, a divisor of 16 (all)"
    )
    parser.add_argument(
        "--variant", choices=("calvin", "xhand", "xbot"), help="meaning of the actions (from the checkpoint)"
    )
    parser.add_argument("--cameras", type=int, metavar="V", help="number of views (calvin, xhand: 2; xbot: 3)")
    parser.add_argument(
        "--action-rate", type=float, metavar="HZ", help="actions per second (calvin: 30; xhand, xbot: 10)"
    )
    parser.add_argument(
        "--quaternion-order", choices=("xyzw", "wxyz"), default="xyzw", help="as stored in the state (xyzw)"
    )
    parser.add_argument("--parity-samples", type=int, default=2, metavar="N", help="observations to compare on (2)")
    parser.add_argument("--seed", type=int, default=0, help="of those observations (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.checkpoint.files import CheckpointPaths, paths_from_folder
    from vpp_edge.checkpoint.reader import Choices
    from vpp_edge.export.exporter import PROGRESS_STAGES, ExportOptions, check_target, export_bundle

    apart = (arguments.video_model, arguments.text_encoder, arguments.policy)
    whole = arguments.checkpoint is not None
    if any(apart) if whole else not all(apart):
        raise BadInputError("pass either a checkpoint folder, or all of --video-model, --text-encoder and --policy")
    if arguments.parity_samples < 1:
        raise BadInputError("--parity-samples must be at least 1: a bundle is never written unchecked")
    choices = Choices(
        arguments.variant, arguments.cameras, arguments.action_rate, arguments.quaternion_order, arguments.steps,
        arguments.solver, arguments.frames,
    )  # fmt: skip
    options = ExportOptions(choices, arguments.parity_samples, arguments.seed, arguments.overwrite)
    check_target(arguments.output, arguments.overwrite)
    paths = paths_from_folder(arguments.checkpoint) if whole else CheckpointPaths(*apart)
    signal.signal(signal.SIGTERM, _stop)
    with Progress("export", PROGRESS_STAGES, quiet=arguments.quiet) as progress:
        manifest = export_bundle(paths, arguments.output, options, report=progress)
    size = sum(f.size for f in manifest.files.values())
    if arguments.json:
        summary = {
            "bundle": str(arguments.output),
            "bytes": size,
            "certificate": manifest.certificate,
            "notes": manifest.policy.notes,
        }
        print(json.dumps(summary))
        return 0
    for note in manifest.policy.notes:
        print(f"note: {note}", file=sys.stderr)
    print(
        f"{arguments.output}: {size / 2**20:.0f} MiB, "
        f"verified against the model on {arguments.parity_samples} observations"
    )
    print(certificate_table(manifest.certificate))
    for line in approximation_lines(manifest.certificate):
        print(line)
    return 0


def certificate_table(certificate: dict[str, Any]) -> str:
    """The certificate's errors as aligned lines."""
    lines = [
        f"  {'output':<12} {'stage alone':>12} {'end to end':>12} {'allowed':>9}   (max abs error / max abs reference)"
    ]
    for name, alone in certificate["stages"].items():
        chained, allowed = certificate["end_to_end"][name], certificate["tolerances"][name]
        lines.append(f"  {name:<12} {alone['max_relative']:>12.1e} {chained['max_relative']:>12.1e} {allowed:>9.0e}")
    return "\n".join(lines)


def approximation_lines(certificate: dict[str, Any]) -> list[str]:
    """How an approximate bundle differs from the trained policy, in words; nothing for an exact one."""
    found = certificate.get("approximations")
    if not found:
        return []
    chosen, trained = found["options"], found["trained"]
    parts = [f"{chosen[n]} instead of {trained[n]} {n}" for n in ("steps", "frames") if chosen[n] != trained[n]]
    if chosen["solver"] != trained["solver"]:
        parts.append(f"solver {chosen['solver']} instead of {trained['solver']}")
    actions, tokens = found["actions"], found["tokens"]
    return [
        f"approximate: {', '.join(parts)}",
        f"  actions differ from the trained policy's by {_percent(actions['rms_relative'])} (relative RMS), "
        f"at most {_percent(actions['max_relative'])} of the largest; tokens by {_percent(tokens['rms_relative'])}",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # the same clean way out as Ctrl-C
