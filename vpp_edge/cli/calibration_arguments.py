"""Options that `calibrate` and `export --precision int8` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpp_edge.workflow.calibrating import CalibrationOptions
    from vpp_edge.workflow.observations import DataOptions


DEFAULT_BUDGET = 0.015  # vpp_edge.bundle.tolerances has it too; --help must not load numpy


def is_table(path: Path) -> bool:
    """Whether a path is what `vpp-edge calibrate` wrote, rather than an annotation or a folder of a data set."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"schema_version"' in file.read(256)  # the first thing in it


def add_calibration_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("calibration")
    group.add_argument(
        "--recordings",
        metavar="NAMES",
        default="",
        help="recordings to calibrate on, separated by commas; the others are judged on (the first part of the data)",
    )
    group.add_argument(
        "--views",
        metavar="NAMES",
        default="",
        help="views of the recordings that are the policy's cameras, static first, by name or number (the first ones)",
    )
    group.add_argument("--held-out", type=Path, metavar="DATASET", help="another data set to judge on (what is left)")
    group.add_argument("--samples", type=int, default=16, metavar="N", help="observations to calibrate on (16)")
    group.add_argument("--held-out-samples", type=int, default=4, metavar="N", help="observations to judge on (4)")
    group.add_argument(
        "--method",
        choices=("max", "percentile", "entropy"),
        default="percentile",
        help="how ranges are found (percentile)",
    )
    group.add_argument(
        "--percentile", type=float, default=99.999, metavar="P", help="of the values, for that method (99.999)"
    )
    group.add_argument("--alpha", type=float, default=0.5, metavar="A", help="of SmoothQuant, 0 is without (0.5)")
    group.add_argument(
        "--sensitivity-samples",
        type=int,
        default=1,
        metavar="N",
        help="observations that each layer's error is measured on; 0 puts every layer that can be into INT8 (1)",
    )


def data_options(arguments: argparse.Namespace, dataset: Path) -> DataOptions:
    from vpp_edge.workflow.observations import DataOptions

    return DataOptions(
        dataset,
        _names(arguments.recordings),
        _names(arguments.views),
        arguments.held_out,
        arguments.samples,
        arguments.held_out_samples,
        arguments.seed,
    )


def calibration_options(arguments: argparse.Namespace) -> CalibrationOptions:
    from vpp_edge.workflow.calibrating import CalibrationOptions

    return CalibrationOptions(arguments.method, arguments.percentile, arguments.alpha, arguments.sensitivity_samples)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
