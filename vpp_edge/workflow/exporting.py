"""Convert a checkpoint or a float32 bundle to a bundle of lower precision in one step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from vpp_edge.bundle.manifest import Bundle, Manifest
from vpp_edge.bundle.quantization import CalibrationTable, calibration_from_json
from vpp_edge.bundle.separation import UNKNOWN, separation
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.errors import BadInputError
from vpp_edge.export import exporter
from vpp_edge.export.bundle_writer import check_target
from vpp_edge.export.exporter import ExportOptions, export_bundle
from vpp_edge.export.samples import random_samples
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.partial import partial_folder
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted
from vpp_edge.workflow import calibrating, lowering
from vpp_edge.workflow.calibrating import calibrate_bundle
from vpp_edge.workflow.calibration_options import CalibrationOptions
from vpp_edge.workflow.lowering import LoweringOptions, check_table, lower_bundle
from vpp_edge.workflow.observations import (
    DataOptions,
    Observations,
    held_out_observations,
    observations,
    separation_of,
)


@dataclass(frozen=True)
class LoweredExport:
    """Options of `export --precision fp16|int8`.

    Attributes:
        source: the parts of a checkpoint, or a float32 bundle.
        precision: `fp16` or `int8`.
        data: observations to calibrate and evaluate on, or with a `table` only to evaluate on; None: random ones, for
            FP16 only.
        table: an earlier calibration by `vpp-edge calibrate`; None: calibrate on `data`.
        budget: of INT8, relative RMS error of the actions.
    """

    source: CheckpointPaths | Bundle
    precision: str
    data: DataOptions | None
    table: Path | None
    budget: float
    calibration: CalibrationOptions
    export: ExportOptions

    def __post_init__(self) -> None:
        LoweringOptions(self.precision, self.budget)  # raises before hours of calibration, not after
        if self.precision == "int8" and self.data is None:
            raise BadInputError(
                "INT8 is calibrated and evaluated on recordings of the robot: pass --calibration DATASET (see "
                "`vpp-edge calibrate --help`)"
            )
        if self.precision == "fp16" and self.table is not None:
            raise BadInputError(
                f"{self.table} is a calibration table, and fp16 takes none; pass recordings to evaluate on, or nothing"
            )

    def stages(self) -> tuple[tuple[str, float], ...]:
        """Stages of the progress display."""
        stages: tuple[tuple[str, float], ...] = ()
        if isinstance(self.source, CheckpointPaths):
            stages += exporter.PROGRESS_STAGES
        if self.precision == "int8" and self.table is None:
            stages += calibrating.PROGRESS_STAGES
        return stages + lowering.PROGRESS_STAGES


def read_table(path: Path) -> CalibrationTable:
    """The table that `vpp-edge calibrate` wrote. Raises BadInputError if it is not readable."""
    data = read_json_file(path, "a calibration table")
    try:
        return calibration_from_json(data)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error


def export_lowered(request: LoweredExport, target: Path, report: ProgressCallback = ignore_progress) -> Manifest:
    """Exports to float32 and calibrates if necessary, then converts and measures the error.

    Raises:
        BadInputError, CheckpointError, CheckFailedError: as `export_bundle`, `calibrate_bundle` and `lower_bundle`.
    """
    check_target(target, request.export.overwrite)
    with _float32_folder(request, target) as work:
        source = request.source
        if isinstance(source, CheckpointPaths):
            folder = work / "fp32"
            export_bundle(source, folder, request.export, report)
            source = Bundle(folder)
        spec = source.manifest.policy
        table, apart = None, UNKNOWN
        if request.data is None:
            count, seed = request.export.parity_samples, request.export.seed
            samples, origin = random_samples(spec, count, seed), f"{counted(count, 'random observation')}, seed {seed}"
            held_out = Observations(samples=tuple(samples), description=origin, data={}, content=())
        elif request.table is not None:
            table = read_table(request.table)
            check_table(source, table)
            held_out = held_out_observations(spec, request.data)
            apart = separation(table.recordings, held_out.content)
        else:
            seen, held_out = observations(spec, request.data)
            if request.precision == "int8":
                apart = separation_of(seen, held_out)  # before hours of calibration
                table = calibrate_bundle(source, seen, request.calibration, report)
        options = LoweringOptions(
            precision=request.precision,
            budget=request.budget,
            data=held_out.description,
            separation=apart,
            overwrite=request.export.overwrite,
        )
        return lower_bundle(
            source, target=target, samples=held_out.samples, options=options, table=table, report=report
        )


def _float32_folder(request: LoweredExport, target: Path) -> AbstractContextManager[Path]:
    """A temporary folder next to the target, on the same disk; none if the source is a bundle already."""
    return nullcontext(target) if isinstance(request.source, Bundle) else partial_folder(target)
