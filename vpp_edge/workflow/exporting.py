"""Convert a checkpoint or a float32 bundle to a bundle of lower precision in one step."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from vpp_edge.bundle.manifest import MANIFEST_NAME, Bundle, Manifest
from vpp_edge.bundle.quantization import CalibrationTable, calibration_from_json
from vpp_edge.checkpoint.files import CheckpointPaths
from vpp_edge.errors import BadInputError
from vpp_edge.export import exporter
from vpp_edge.export.bundle_writer import check_target
from vpp_edge.export.exporter import ExportOptions, export_bundle
from vpp_edge.export.samples import random_samples
from vpp_edge.partial import partial_folder
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted
from vpp_edge.workflow import calibrating, lowering
from vpp_edge.workflow.calibrating import calibrate_bundle
from vpp_edge.workflow.calibration_options import CalibrationOptions
from vpp_edge.workflow.lowering import LoweringOptions, lower_bundle
from vpp_edge.workflow.observations import DataOptions, Observations, held_out_observations, observations

_MOST_TABLE_BYTES = 256 << 20


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

    def stages(self) -> tuple[tuple[str, float], ...]:
        """Stages of the progress display."""
        stages: tuple[tuple[str, float], ...] = ()
        if isinstance(self.source, CheckpointPaths):
            stages += exporter.PROGRESS_STAGES
        if self.precision == "int8" and self.table is None:
            stages += calibrating.PROGRESS_STAGES
        return stages + lowering.PROGRESS_STAGES


def is_bundle(path: Path) -> bool:
    """Whether a folder is a bundle rather than a checkpoint."""
    return (path / MANIFEST_NAME).is_file()


def read_table(path: Path) -> CalibrationTable:
    """The table that `vpp-edge calibrate` wrote. Raises BadInputError if it is not readable."""
    try:
        if path.stat().st_size > _MOST_TABLE_BYTES:
            raise BadInputError(f"{path}: too large for a calibration table; refused")
        return calibration_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: not readable as a calibration table ({error})") from error


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
        table = None
        if request.data is None:
            count, seed = request.export.parity_samples, request.export.seed
            samples, origin = random_samples(spec, count, seed), f"{counted(count, 'random observation')}, seed {seed}"
            held_out = Observations(samples=tuple(samples), description=origin, data={})
        elif request.table is not None:
            table = read_table(request.table)
            held_out = held_out_observations(spec, request.data)
        else:
            seen, held_out = observations(spec, request.data)
            if request.precision == "int8":
                table = calibrate_bundle(
                    source, samples=seen.samples, data=seen.data, options=request.calibration, report=report
                )
        options = LoweringOptions(
            precision=request.precision,
            budget=request.budget,
            data=held_out.description,
            overwrite=request.export.overwrite,
        )
        return lower_bundle(
            source, target=target, samples=held_out.samples, options=options, table=table, report=report
        )


def _float32_folder(request: LoweredExport, target: Path) -> AbstractContextManager[Path]:
    """A temporary folder next to the target, on the same disk; none if the source is a bundle already."""
    return nullcontext(target) if isinstance(request.source, Bundle) else partial_folder(target)
