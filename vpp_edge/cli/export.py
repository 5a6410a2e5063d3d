"""`vpp-edge export`: turns a trained checkpoint into a bundle."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vpp_edge.bundle.tolerances import DEFAULT_BUDGET, PRECISIONS
from vpp_edge.checkpoint.choices import ACTIONS_HZ, FRAMES, STEPS
from vpp_edge.checkpoint.config import SAMPLERS
from vpp_edge.checkpoint.policy_spec import ACTION_RATE_HZ
from vpp_edge.cli.calibration_arguments import (
    add_calibration_arguments,
    calibration_options,
    data_options,
    is_table,
)
from vpp_edge.cli.checkpoint_arguments import add_checkpoint_arguments, by_variant, choices_from_arguments
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError
from vpp_edge.files.outputs import check_temporary_files
from vpp_edge.number_range import COUNT, SEED, above
from vpp_edge.progress import Progress, ProgressCallback
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, NAMES
from vpp_edge.workflow.closed_loop.bounds import EPISODES

if TYPE_CHECKING:
    from vpp_edge.bundle.manifest import Bundle, Manifest
    from vpp_edge.checkpoint.paths import CheckpointPaths
    from vpp_edge.export.exporter import ExportOptions
    from vpp_edge.workflow.observations import DataOptions

    Stages = tuple[tuple[str, float], ...]

HELP = """Turn a trained checkpoint into a bundle that a robot can run.

Writes the stages text, perceive and act as ONNX, compares each with the PyTorch model, and writes the manifest with
hashes and parity certificate. Leaves nothing behind if it fails or is interrupted.

--precision fp16 and int8 are written into the ONNX files (INT8 as QuantizeLinear and DequantizeLinear), so that every
engine computes the same. INT8 needs recordings of the robot: some to calibrate on, others to measure the certificate
on. Layers are taken out of INT8, the most sensitive first, until the error of the actions fits the --budget.

--steps, --solver and --frames make a faster policy that differs slightly from the trained one. The difference of the
actions is measured, printed and stored in the bundle.

--closed-loop 200 plays the simulated task (see `vpp-edge eval --help`) with the bundle and with float32, for policies
that fit the simulated hand, and stores both success rates in the bundle.

  vpp-edge export my_checkpoint/ -o my_bundle/
  vpp-edge export my_checkpoint/ -o my_int8_bundle/ --precision int8 --calibration my_recordings/
  vpp-edge export my_bundle/ -o my_fp16_bundle/ --precision fp16
  vpp-edge export --video-model svd/ --text-encoder clip/ --policy policy.pt -o my_bundle/"""


BUDGET = above(0, 0.999)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        nargs="?",
        type=Path,
        metavar="CKPT",
        help="folder with svd/, clip/ and policy.pt; for fp16 and int8 also a float32 bundle",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="bundle folder to write")
    parser.add_argument(
        "--video-model", type=Path, metavar="DIR", help="svd/ folder, if the parts are stored separately"
    )
    parser.add_argument(
        "--text-encoder", type=Path, metavar="DIR", help="clip/ folder, if the parts are stored separately"
    )
    parser.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="policy.pt, if the parts are stored separately; of a training run's folder, its newest policy",
    )
    add_checkpoint_arguments(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="precision of the stages (fp32)")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DATASET",
        help="recordings of the robot for int8 (fp16: to evaluate on), or the table that `vpp-edge calibrate` wrote",
    )
    parser.add_argument(
        "--budget",
        type=Number(BUDGET),
        default=DEFAULT_BUDGET,
        metavar="E",
        help=f"int8: allowed error of the actions, relative RMS ({DEFAULT_BUDGET})",
    )
    parser.add_argument(
        "--steps", type=Number(STEPS), metavar="N", help="sampling steps of the action head (as trained)"
    )
    parser.add_argument("--solver", choices=SAMPLERS, help="sampler of the action head (as trained)")
    parser.add_argument(
        "--frames", type=Number(FRAMES), metavar="K", help="frames that the video model computes, a divisor of 16 (all)"
    )
    parser.add_argument(
        "--action-rate",
        type=Number(ACTIONS_HZ),
        metavar="HZ",
        help=f"actions per second ({by_variant(ACTION_RATE_HZ)})",
    )
    parser.add_argument(
        "--parity-samples", type=Number(COUNT), default=2, metavar="N", help="observations for the parity check (2)"
    )
    parser.add_argument(
        "--closed-loop",
        type=Number(EPISODES),
        metavar="N",
        help="play N episodes of the simulated task with the bundle and with float32, for its certificate",
    )
    parser.add_argument("--world", choices=NAMES, default=BUTTONS.name, help="what these episodes ask (buttons)")
    parser.add_argument("--seed", type=Number(SEED), default=0, help="seed of these observations and episodes (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    add_calibration_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.export.bundle_writer import check_target
    from vpp_edge.export.exporter import ExportOptions

    choices = choices_from_arguments(
        arguments,
        action_rate_hz=arguments.action_rate,
        steps=arguments.steps,
        solver=arguments.solver,
        frames=arguments.frames,
    )
    options = ExportOptions(
        choices=choices,
        parity_samples=arguments.parity_samples,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )
    check_target(arguments.output, arguments.overwrite)
    check_temporary_files()
    source = _source(arguments)
    stages, export = _export(arguments, source, options)
    if arguments.closed_loop is None:
        with Progress("export", stages, quiet=arguments.quiet) as progress:
            return _print_result(arguments, export(arguments.output, progress))
    from vpp_edge.workflow.closed_loop import certifying
    from vpp_edge.workflow.closed_loop.evaluation import EvalSettings

    played = EvalSettings(episodes=arguments.closed_loop, seed=arguments.seed, world=arguments.world)
    certifying.check_can_play(source, choices)
    stages = (*stages, *certifying.progress_stages(played))
    with Progress("export", stages, quiet=arguments.quiet) as progress:
        manifest = certifying.export_and_play(
            export=export,
            source=source,
            target=arguments.output,
            settings=played,
            overwrite=arguments.overwrite,
            report=progress,
        )
    return _print_result(arguments, manifest)


def _export(
    arguments: argparse.Namespace, source: CheckpointPaths | Bundle, options: ExportOptions
) -> tuple[Stages, Callable[[Path, ProgressCallback], Manifest]]:
    """Stages of the progress display, and a function that writes the bundle to a folder."""
    from vpp_edge.bundle.manifest import Bundle
    from vpp_edge.export.exporter import PROGRESS_STAGES, export_bundle
    from vpp_edge.workflow.exporting import LoweredExport, export_lowered

    if arguments.precision != "fp32":
        data, table = _data(arguments)
        request = LoweredExport(
            source=source,
            precision=arguments.precision,
            data=data,
            table=table,
            budget=arguments.budget,
            calibration=calibration_options(arguments),
            export=options,
        )
        return request.stages(), partial(export_lowered, request)
    if isinstance(source, Bundle):
        raise BadInputError(f"{source.path} is a bundle already; pass --precision fp16 or int8, or a checkpoint")
    if arguments.calibration is not None:
        raise BadInputError("--calibration is for --precision int8 (and fp16, as data to evaluate on)")
    return PROGRESS_STAGES, lambda target, report: export_bundle(source, target, options, report)


def _source(arguments: argparse.Namespace) -> CheckpointPaths | Bundle:
    from vpp_edge.bundle.manifest import Bundle, is_bundle
    from vpp_edge.checkpoint.paths import paths_from_folder, paths_from_parts

    parts = (arguments.video_model, arguments.text_encoder, arguments.policy)
    whole = arguments.checkpoint is not None
    if any(parts) if whole else not all(parts):
        raise BadInputError("pass either a checkpoint folder, or all of --video-model, --text-encoder and --policy")
    if not whole:
        return paths_from_parts(*parts)
    return Bundle(arguments.checkpoint) if is_bundle(arguments.checkpoint) else paths_from_folder(arguments.checkpoint)


def _data(arguments: argparse.Namespace) -> tuple[DataOptions | None, Path | None]:
    """The data options, and the path of the table if --calibration names one instead of a data set."""
    path = arguments.calibration
    if path is None:
        return None, None
    if not is_table(path):
        return data_options(arguments, path), None
    if arguments.held_out is None:
        raise BadInputError(
            f"{path} holds ranges but no observations: pass --held-out DATASET to evaluate the bundle on"
        )
    return data_options(arguments, arguments.held_out), path


def _print_result(arguments: argparse.Namespace, manifest: Manifest) -> int:
    from vpp_edge.bundle.certificate import certificate_from_json
    from vpp_edge.cli.certificate_text import certificate_lines
    from vpp_edge.cli.student_text import certificate_note

    certificate = certificate_from_json(manifest.certificate)
    problems = certificate.problems()
    size = sum(f.size for f in manifest.files.values())
    if arguments.json:
        summary = {
            "bundle": str(arguments.output),
            "bytes": size,
            "precision": arguments.precision,
            "passed": not problems,
            "certificate": manifest.certificate,
            "notes": manifest.policy.notes,
        }
        print(json.dumps(summary))
        return 1 if problems else 0
    for note in manifest.policy.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{arguments.output}: {size / 2**20:.0f} MiB in {arguments.precision}, compared with {certificate.reference}")
    print("\n".join([*certificate_lines(certificate), *certificate_note(manifest)]))
    for problem in problems:
        print(f"FAILED: {problem}")
    if problems:
        print(
            "The bundle was written, but `vpp-edge run` refuses it. Allow a larger --budget, or calibrate on more data."
        )
    return 1 if problems else 0
