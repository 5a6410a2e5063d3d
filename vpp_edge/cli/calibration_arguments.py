"""Options that `calibrate` and `export --precision int8` share."""

from __future__ import annotations

import argparse
from pathlib import Path

from vpp_edge.bundle.quantization import METHODS
from vpp_edge.cli.numbers import Number
from vpp_edge.number_range import COUNT, COUNT_OR_NONE
from vpp_edge.workflow.calibration_options import ALPHA, PERCENTILE, CalibrationOptions
from vpp_edge.workflow.observations import DataOptions


def is_table(path: Path) -> bool:
    """Whether `path` is a table that `vpp-edge calibrate` wrote, not an annotation or a folder of a data set."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"schema_version"' in file.read(256)  # its first key


def add_calibration_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("calibration")
    group.add_argument(
        "--recordings",
        metavar="NAMES",
        default="",
        help="recordings to calibrate on, comma-separated; the others are held out (the first part of the data); with "
        "a saved table, those to leave out of --held-out",
    )
    add_views_argument(group)
    group.add_argument(
        "--held-out", type=Path, metavar="DATASET", help="data set to evaluate on (the other recordings)"
    )
    data, options = DataOptions, CalibrationOptions
    group.add_argument(
        "--samples",
        type=Number(COUNT),
        default=data.samples,
        metavar="N",
        help=f"observations to calibrate on ({data.samples})",
    )
    group.add_argument(
        "--held-out-samples",
        type=Number(COUNT),
        default=data.held_out_samples,
        metavar="N",
        help=f"observations to evaluate on ({data.held_out_samples})",
    )
    group.add_argument(
        "--method", choices=METHODS, default=options.method, help=f"how ranges are found ({options.method})"
    )
    group.add_argument(
        "--percentile",
        type=Number(PERCENTILE),
        default=options.percentile,
        metavar="P",
        help=f"share of the values, in percent, that method percentile keeps ({options.percentile:g})",
    )
    group.add_argument(
        "--alpha",
        type=Number(ALPHA),
        default=options.alpha,
        metavar="A",
        help=f"SmoothQuant's migration strength, 0 for none ({options.alpha:g})",
    )
    group.add_argument(
        "--sensitivity-samples",
        type=Number(COUNT_OR_NONE),
        default=options.sensitivity_samples,
        metavar="N",
        help="observations to measure each layer's error on; 0 skips that and quantizes every layer that can be "
        f"({options.sensitivity_samples})",
    )


def add_views_argument(parser: argparse._ActionsContainer) -> None:
    """Adds --views, which `names_from_text` reads."""
    parser.add_argument(
        "--views",
        metavar="NAMES",
        default="",
        help="views to use as the policy's cameras, comma-separated names or numbers, static first (the first ones)",
    )


def names_from_text(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def data_options(arguments: argparse.Namespace, dataset: Path) -> DataOptions:
    return DataOptions(
        dataset=dataset,
        recordings=names_from_text(arguments.recordings),
        views=names_from_text(arguments.views),
        held_out=arguments.held_out,
        samples=arguments.samples,
        held_out_samples=arguments.held_out_samples,
        seed=arguments.seed,
    )


def calibration_options(arguments: argparse.Namespace) -> CalibrationOptions:
    return CalibrationOptions(
        method=arguments.method,
        percentile=arguments.percentile,
        alpha=arguments.alpha,
        sensitivity_samples=arguments.sensitivity_samples,
    )
