"""Convert a float32 bundle to an FP16 or INT8 bundle with its certificate.

The certificate is measured on the given observations, which for INT8 must not be those of the calibration. The new
bundle keeps a few of them with the float32 outputs, so that `vpp-edge verify` can repeat the comparison on the robot
with the engine used there.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.certificate import Certificate
from vpp_edge.bundle.manifest import CALIBRATION_NAME, Bundle, Manifest, StageRecord
from vpp_edge.bundle.quantization import CalibrationTable
from vpp_edge.bundle.reference import Reference
from vpp_edge.bundle.separation import UNKNOWN, Separation
from vpp_edge.bundle.tolerances import DEFAULT_BUDGET, TOLERANCES, Limit
from vpp_edge.calibration.choice import Choice, largest_share_within, layers_from
from vpp_edge.calibration.measure import magnitudes
from vpp_edge.errors import BadInputError
from vpp_edge.export.bundle_writer import staging_folder, write_bundle
from vpp_edge.export.parity import ParityCheck
from vpp_edge.export.precision.lower import flat_graph, float_tensors, stage_products, wide_nodes, write_lowered
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.spec.sample import Sample
from vpp_edge.workflow.calibrating import INT8_STAGES
from vpp_edge.workflow.references import references_from_bundle, stage_key

PROGRESS_STAGES = (("evaluate", 15.0), ("convert", 60.0), ("finish", 2.0))
# The layers are chosen for this share of the budget: the worst of many observations is worse than the one on which
# sensitivities are measured. On the golden xhand policy an expected error of 0.58 % became 0.55 to 0.90 % on others.
SEEN_SHARE = 0.55


@dataclass(frozen=True)
class LoweringOptions:
    """Options of a conversion.

    Attributes:
        precision: `fp16` or `int8`.
        budget: for INT8, the largest relative RMS error of the actions.
        data: description of the observations that the certificate is measured on.
        separation: for INT8, how they are set apart from those of the calibration.
        overwrite: replace an existing bundle.
    """

    precision: str
    budget: float = DEFAULT_BUDGET
    data: str = ""
    separation: Separation = UNKNOWN
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("fp16", "int8"):
            raise BadInputError(f"precision {self.precision!r} is not supported; expected fp16 or int8")
        if not 0 < self.budget < 1:
            raise BadInputError(
                f"error budget {self.budget:g} is out of range; expected 0 to 1 (0.02 is 2 % of the actions' RMS)"
            )


def lower_bundle(
    source: Bundle,
    target: Path,
    samples: Sequence[Sample],
    options: LoweringOptions,
    table: CalibrationTable | None = None,
    report: ProgressCallback = ignore_progress,
) -> Manifest:
    """Converts a float32 bundle and measures the error. A result over its limits is written too, and certified as such.

    Args:
        source: in float32.
        target: the folder to create.
        samples: observations of the certificate.
        table: of `calibrate_bundle`, for INT8.
        report: called with (stage, fraction), stages as in PROGRESS_STAGES.

    Raises:
        BadInputError: the source is not in float32, the table is missing or of another export, or the target exists.
    """
    if any(s.precision != "fp32" for s in source.manifest.stages.values()):
        raise BadInputError(f"{source.path} is not in float32; convert the float32 bundle that it was made from")
    if (table is None) != (options.precision == "fp16"):
        raise BadInputError("int8 needs a calibration table, fp16 takes none")
    if table is not None:
        check_table(source, table)
    source.verify_all()
    source.refuse_links()
    references = references_from_bundle(source, samples, report, "evaluate")
    gc.collect()  # the sessions hold all weights
    choice = None if table is None else choose_layers(source, table, options.budget * SEEN_SHARE)
    with staging_folder(target) as staging:
        (staging / "onnx").mkdir()
        conversion, stages = (
            _Conversion(source, staging=staging, references=references, options=options, table=table, choice=choice),
            {},
        )
        for i, record in enumerate(source.manifest.stages.values()):
            stages[record.name] = conversion.stage(record)
            report("convert", (i + 1) / len(source.manifest.stages))
        report("finish", 0)
        shutil.copyfile(source.path / source.manifest.tokenizer, staging / source.manifest.tokenizer)
        if table is not None:
            (staging / CALIBRATION_NAME).write_text(json.dumps(table.to_json(), indent=1), encoding="utf-8")
        manifest = Manifest(
            policy=source.manifest.policy,
            stages=stages,
            files={},
            tokenizer=source.manifest.tokenizer,
            provenance=_provenance(source, options),
            certificate=conversion.certificate().to_json(),
        )
        return write_bundle(
            staging, target=target, manifest=manifest, references=references, overwrite=options.overwrite
        )


def choose_layers(source: Bundle, table: CalibrationTable, error: float) -> Choice:
    """The largest INT8 share whose expected error is at most `error`; all layers if no sensitivities were measured."""
    macs, total = layer_macs(source)
    errors = measured_errors(table)
    if not errors:
        return Choice(high=(), share=sum(macs.values()) / total, expected_error=float("nan"))
    return largest_share_within(layers_from(macs, errors), total, error)


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


def check_table(source: Bundle, table: CalibrationTable) -> None:
    """Raises BadInputError for a calibration table of another bundle."""
    for name in INT8_STAGES:
        if name not in table.stages or table.stages[name].graph_sha256 != stage_key(source, name):
            raise BadInputError(
                f"the calibration table was not measured on stage {name} of {source.path}; run `vpp-edge calibrate` "
                "on this bundle"
            )


class _Conversion:
    """Writes the stages, and measures each as written and with the rounding of a GPU."""

    def __init__(
        self,
        source: Bundle,
        staging: Path,
        references: Sequence[Reference],
        options: LoweringOptions,
        table: CalibrationTable | None,
        choice: Choice | None,
    ) -> None:
        self.source, self.staging, self.references, self.options = source, staging, references, options
        self.table, self.choice, self.macs = table, choice, 0
        limits = dict(TOLERANCES[options.precision])
        if options.precision == "int8":
            limits["actions"] = Limit("rms_relative", options.budget)
        self.written, self.rounded = ParityCheck(references, limits), ParityCheck(references, limits)

    def stage(self, record: StageRecord) -> StageRecord:
        graph, path = self.source.path / record.graph, self.staging / "onnx" / f"{record.name}.onnx"
        with tempfile.TemporaryDirectory(dir=self.staging) as folder:
            wide = self._wide_nodes(record.name, flat_graph(graph, Path(folder)))
        table = self.table.stages.get(record.name) if self.table is not None else None
        high = {layer.name for layer in self.choice.high if layer.stage == record.name} if self.choice else set()
        self.macs += write_lowered(graph, target=path, wide=wide, table=table, high=high)
        self.written.measure_stage(record, path)
        with tempfile.TemporaryDirectory(dir=self.staging) as folder:
            simulated = Path(folder) / path.name
            write_lowered(graph, target=simulated, wide=wide, table=table, high=high, simulated=True)
            self.rounded.measure_stage(record, simulated)
        weights = f"onnx/{path.name}.data"
        return replace(
            record,
            graph=f"onnx/{path.name}",
            weights=weights if (self.staging / weights).exists() else None,
            precision="fp16" if table is None else "int8",
        )

    def _wide_nodes(self, name: str, graph: Path) -> set[str]:
        tensors: dict[str, int | None] = dict.fromkeys(float_tensors(graph))
        largest = magnitudes(graph, tensors, [r.inputs[name] for r in self.references], self.staging)
        chunk = (1, *self.source.manifest.policy.chunk_shape)
        return wide_nodes(graph, {n: float(v) for n, v in largest.items()}, chunk)

    def certificate(self) -> Certificate:
        """The larger errors of the two measurements."""
        spec, reference = self.source.manifest.policy, "the float32 bundle, same inputs and noise"
        found = self.written.certificate(spec, reference, self.options.data)
        found = found.joined(self.rounded.certificate(spec, reference, self.options.data))
        return replace(
            found,
            int8=self._int8(),
            separation=None if self.choice is None else self.options.separation,
            approximations=self.source.manifest.certificate.get("approximations"),
        )

    def _int8(self) -> dict[str, Any] | None:
        if self.choice is None:
            return None
        high = {f"{layer.stage}: {layer.name}": _finite(layer.error) for layer in self.choice.high}
        share = self.macs / layer_macs(self.source)[1]  # of the written graph; wide nodes do not count
        return {
            "share": share,
            "budget": self.options.budget,
            "expected_error": _finite(self.choice.expected_error),
            "high": high,
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _provenance(source: Bundle, options: LoweringOptions) -> dict[str, Any]:
    return {
        **source.manifest.provenance,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "from_bundle": {"manifest_sha256": source.manifest_sha256, "precision": options.precision},
    }
