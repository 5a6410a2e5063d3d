"""`vpp-edge calibrate`: measures a float32 bundle on recordings and writes the table that INT8 export needs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vpp_edge.cli.calibration_arguments import add_calibration_arguments, calibration_options, data_options
from vpp_edge.cli.executor_arguments import (
    add_executor_arguments,
    add_worker_threads_argument,
    executor_from_arguments,
)
from vpp_edge.cli.numbers import Number
from vpp_edge.cli.threads import let_idle_threads_sleep
from vpp_edge.errors import BadInputError
from vpp_edge.files.outputs import check_output_file, check_output_folder, check_temporary_files
from vpp_edge.files.writing import write_whole
from vpp_edge.number_range import SEED
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.progress import Progress

HELP = """Measure a float32 bundle on recordings, for INT8.

Finds the range of every activation, the SmoothQuant factors, and the error that each layer adds to the actions when it
alone runs in INT8. That takes minutes for a small policy and hours for a full-size one on a CPU. Choosing layers for an
error budget afterwards is quick, so export as often as you like:

  vpp-edge calibrate my_bundle/ my_recordings/ -o calibration.json --report report.html
  vpp-edge export my_bundle/ -o my_int8_bundle/ --precision int8 --calibration calibration.json \\
      --held-out other_recordings/ --budget 0.02

DATASET is a folder in the layout that VPP trains on (annotation/ and videos/; `vpp-edge run --record` writes it), one
annotation of it, or a LeRobot v3 folder. --report writes a page with a table and a chart of the possible choices of
layers, with predicted latency and with the error measured on held-out observations."""

DEFAULT_DEVICE = "orin-agx-64gb"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="float32 bundle")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="recordings of the robot")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="table to write, .json")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="page on the choices of layers (in a folder: report.html)"
    )
    parser.add_argument(
        "--device",
        choices=tuple(DEVICES),
        default=DEFAULT_DEVICE,
        metavar="NAME",
        help=f"device to predict the latency for in the report: {', '.join(DEVICES)} ({DEFAULT_DEVICE})",
    )
    parser.add_argument("--seed", type=Number(SEED), default=0, help="seed of the observations' noise (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing table")
    add_calibration_arguments(parser)
    add_executor_arguments(parser, "for the layers' errors: this one")
    add_worker_threads_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    let_idle_threads_sleep()
    from vpp_edge.bundle.manifest import Bundle
    from vpp_edge.workflow.calibrating import PROGRESS_STAGES, calibrate_bundle
    from vpp_edge.workflow.observations import observations, separation_of
    from vpp_edge.workflow.tradeoff import PROGRESS_STAGES as REPORT_STAGES
    from vpp_edge.workflow.tradeoff import measure_tradeoff, tradeoff_lines
    from vpp_edge.workflow.tradeoff_page import page_path, write_page

    check_output_file(arguments.output, "-o")
    check_temporary_files()
    if arguments.report is not None:
        check_output_folder(arguments.report, "--report")
    if arguments.output.exists() and not arguments.overwrite:
        raise BadInputError(f"{arguments.output} exists; choose another name or pass --overwrite")
    if arguments.report is not None and not arguments.sensitivity_samples:
        raise BadInputError("--report needs the sensitivity of the layers; set --sensitivity-samples to 1 or more")
    page = None if arguments.report is None else page_path(arguments.report)
    executor = executor_from_arguments(arguments)
    bundle = Bundle(arguments.bundle)
    bundle.verify_all()
    options = calibration_options(arguments)
    stages = PROGRESS_STAGES + (REPORT_STAGES if arguments.report is not None else ())
    with Progress("calibrate", stages, quiet=arguments.quiet) as progress:
        calibration, held_out = observations(bundle.manifest.policy, data_options(arguments, arguments.dataset))
        apart = separation_of(calibration, held_out)  # before hours of measuring
        table = calibrate_bundle(bundle, calibration, options, report=progress, executor=executor)
        write_whole(arguments.output, json.dumps(table.to_json(), indent=1))
        points = []
        if page is not None:
            points = measure_tradeoff(bundle, table, held_out.samples, arguments.device, report=progress)
            about = {"observations": held_out.description, "separation": apart.line, "device": arguments.device}
            write_page(page, points, bundle=bundle, **about)
    if arguments.json:
        summary = {
            "table": str(arguments.output),
            "data": table.data,
            "layers": sum(len(s.sensitivity) for s in table.stages.values()),
            "report": None if page is None else str(page),
            "choices": [p.to_json() for p in points],
        }
        print(json.dumps(summary))
        return 0
    print(f"{arguments.output}: measured on {calibration.description}")
    if points:
        print("\n".join(tradeoff_lines(points, held_out.description, arguments.device)))
        print(apart.line)
        print(f"{page}: the same as a page, with a chart")
    return 0
