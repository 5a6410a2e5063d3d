"""A bundle of lower precision: in, a float32 bundle and observations; out, an FP16 or INT8 bundle with its certificate.

The certificate is measured on the observations that are passed here, which for INT8 must not be those of the
calibration. The new bundle keeps a few of them with what float32 made of them, so that `vpp-edge verify` can repeat
the comparison on the robot, on the engine that is there.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.calibration.choice import Choice, choices, largest_share_within, layers_from
from vpp_edge.calibration.measure import magnitudes
from vpp_edge.certificate import Certificate
from vpp_edge.errors import BadInputError
from vpp_edge.export.bundle_writer import staging_folder, write_bundle
from vpp_edge.export.parity import ParityCheck, References
from vpp_edge.export.precision.lower import float_tensors, stage_products, wide_nodes, write_lowered
from vpp_edge.manifest import CALIBRATION_NAME, Bundle, Manifest, StageRecord
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.quantization import CalibrationTable
from vpp_edge.samples import Sample
from vpp_edge.tolerances import DEFAULT_BUDGET, TOLERANCES, Limit
from vpp_edge.workflow.calibrating import INT8_STAGES
from vpp_edge.workflow.references import references_from_bundle, stage_key

PROGRESS_STAGES = (("judge", 15.0), ("convert", 15.0), ("compare", 25.0), ("finish", 2.0))
# The layers are chosen for this share of the budget: on recordings that nobody calibrated on, activations are cut off
# more often. On the golden xhand policy the error rose by a tenth from the calibration's recording to another one.
SEEN_SHARE = 0.7


@dataclass(frozen=True)
class LoweringOptions:
    """What to make.

    Attributes:
        precision: `fp16` or `int8`.
        budget: for INT8, the largest relative RMS error of the actions.
        data: which observations the certificate is measured on, in words.
        overwrite: replace an existing bundle.
    """

    precision: str
    budget: float = DEFAULT_BUDGET
    data: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("fp16", "int8"):
            raise BadInputError(f"precision {self.precision!r} is not built; expected fp16 or int8")
        if not 0 < self.budget < 1:
            raise BadInputError(f"an error budget of {self.budget:g} makes no sense; 0.02 is 2 % of the actions' RMS")


def lower_bundle(
    source: Bundle,
    target: Path,
    samples: Sequence[Sample],
    options: LoweringOptions,
    table: CalibrationTable | None = None,
    report: ProgressCallback = ignore_progress,
) -> Manifest:
    """Converts a float32 bundle and measures what it cost. A result over its limits is written too, and says so.

    Args:
        source: in float32.
        target: the folder to make.
        samples: observations of the certificate.
        table: of `calibrate_bundle`, for INT8.
        report: called with (stage, fraction), stages as in PROGRESS_STAGES.

    Raises:
        BadInputError: the source is not in float32, the table is missing or of another export, or the target exists.
    """
    if any(s.precision != "fp32" for s in source.manifest.stages.values()):
        raise BadInputError(f"{source.path} is not in float32; lower precision is made from the float32 bundle only")
    if (table is None) != (options.precision == "fp16"):
        raise BadInputError("int8 needs a calibration table, fp16 takes none")
    if table is not None:
        _check_table(source, table)
    source.verify_all()
    references = references_from_bundle(source, samples, report, "judge")
    gc.collect()  # the sessions held all weights
    choice = None if table is None else choose_layers(source, table, options.budget * SEEN_SHARE)
    with staging_folder(target) as staging:
        (staging / "onnx").mkdir()
        stages = _convert(source, staging, references, options, table, choice, report)
        certificate = _certificate(source, staging, stages, references, options, choice, report)
        report("finish", 0)
        shutil.copyfile(source.path / source.manifest.tokenizer, staging / source.manifest.tokenizer)
        if table is not None:
            (staging / CALIBRATION_NAME).write_text(json.dumps(table.to_json(), indent=1), encoding="utf-8")
        manifest = Manifest(
            source.manifest.policy, stages, {}, source.manifest.tokenizer, _provenance(source, options),
            certificate.to_json(),
        )  # fmt: skip
        return write_bundle(staging, target, manifest, references, options.overwrite)


def choose_layers(source: Bundle, table: CalibrationTable, error: float) -> Choice:
    """The largest INT8 share whose expected error is at most `error`; everything, where nothing was measured."""
    macs, total = layer_macs(source)
    errors = measured_errors(table)
    if not errors:
        return Choice((), sum(macs.values()) / total, float("nan"))
    return largest_share_within(choices(layers_from(macs, errors), total), error)


def layer_macs(source: Bundle) -> tuple[dict[tuple[str, str], int], int]:
    """Multiply-accumulates by (stage, layer) of what can run in INT8, and of one whole inference."""
    macs: Counter[tuple[str, str]] = Counter()
    total = 0
    for stage in INT8_STAGES:
        for product in stage_products(source.path / source.stage(stage).graph):
            total += product.macs
            if not product.reason:
                macs[stage, product.layer] += product.macs
    return dict(macs), total


def measured_errors(table: CalibrationTable) -> dict[tuple[str, str], float]:
    """Sensitivities by (stage, layer)."""
    return {(stage, layer): e for stage, t in table.stages.items() for layer, e in t.sensitivity.items()}


def _check_table(source: Bundle, table: CalibrationTable) -> None:
    for name in INT8_STAGES:
        if name not in table.stages or table.stages[name].graph_sha256 != stage_key(source, name):
            raise BadInputError(
                f"the calibration table was not measured on stage {name} of {source.path}; run `vpp-edge calibrate` "
                "on this bundle"
            )


def _convert(
    source: Bundle,
    staging: Path,
    references: Sequence[References],
    options: LoweringOptions,
    table: CalibrationTable | None,
    choice: Choice | None,
    report: ProgressCallback,
) -> dict[str, StageRecord]:
    chunk = (1, *source.manifest.policy.chunk_shape)
    records = {}
    for i, record in enumerate(source.manifest.stages.values()):
        graph = source.path / record.graph
        largest = magnitudes(graph, float_tensors(graph), [references[0].inputs[record.name]], staging, False)
        wide = wide_nodes(graph, {n: float(v) for n, v in largest.items()}, chunk)
        low = table is not None and record.name in INT8_STAGES
        high = {layer.name for layer in choice.high if layer.stage == record.name} if choice else set()
        path = staging / "onnx" / f"{record.name}.onnx"
        write_lowered(graph, path, wide, table.stages[record.name] if low and table is not None else None, high)
        weights = f"onnx/{path.name}.data"
        records[record.name] = replace(
            record, graph=f"onnx/{path.name}", weights=weights if (staging / weights).exists() else None,
            precision="int8" if low else "fp16",
        )  # fmt: skip
        report("convert", (i + 1) / len(source.manifest.stages))
    return records


def _certificate(
    source: Bundle,
    staging: Path,
    stages: Mapping[str, StageRecord],
    references: Sequence[References],
    options: LoweringOptions,
    choice: Choice | None,
    report: ProgressCallback,
) -> Certificate:
    limits = dict(TOLERANCES[options.precision])
    if options.precision == "int8":
        limits["actions"] = Limit("rms_relative", options.budget)
    check = ParityCheck(references, limits)
    for i, record in enumerate(stages.values()):
        check.measure_stage(record, staging / record.graph)
        report("compare", (i + 1) / len(stages))
    certificate = check.certificate(source.manifest.policy, "the float32 bundle, same inputs and noise", options.data)
    earlier = source.manifest.certificate.get("approximations")
    int8 = None
    if choice is not None:
        high = {f"{layer.stage}: {layer.name}": layer.error for layer in choice.high}
        int8 = {"share": choice.share, "budget": options.budget, "expected_error": _finite(choice.expected_error),
                "high": {name: _finite(error) for name, error in high.items()}}  # fmt: skip
    return replace(certificate, int8=int8, approximations=earlier)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _provenance(source: Bundle, options: LoweringOptions) -> dict[str, Any]:
    return {
        **source.manifest.provenance,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "from_bundle": {"manifest_sha256": source.manifest_sha256, "precision": options.precision},
    }
