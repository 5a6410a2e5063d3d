"""Calibrate a float32 bundle on observations, into the table that INT8 conversion reads.

This is the slow part of INT8, done once: ranges, SmoothQuant's factors, and the error of each layer when it alone runs
in INT8. Choosing layers for an error budget afterwards needs no inference.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.quantization import CalibrationTable, StageTable
from vpp_edge.bundle.reference import Reference
from vpp_edge.calibration.measure import magnitudes, ranges
from vpp_edge.calibration.ranges import smoothing_factors
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import Executor
from vpp_edge.export.precision.lower import flat_graph, smoothing_maxima, write_smoothed, write_switched
from vpp_edge.machine_limits import peak_memory_bytes
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.workflow.calibration_options import DEFAULT_OPTIONS, CalibrationOptions
from vpp_edge.workflow.observations import Observations
from vpp_edge.workflow.references import references_from_bundle, stage_key, with_prefix
from vpp_edge.workflow.sensitivities import SwitchedStage, layer_errors

# Text runs once per instruction and is a thousandth of the work: it stays in FP16.
INT8_STAGES = ("perceive", "act")
# (stage of the progress display, seconds on two cores for a small policy)
PROGRESS_STAGES = (("observe", 20.0), ("ranges", 30.0), ("sensitivity", 300.0))


def calibrate_bundle(
    bundle: Bundle,
    seen: Observations,
    options: CalibrationOptions = DEFAULT_OPTIONS,
    report: ProgressCallback = ignore_progress,
    executor: Executor | None = None,
) -> CalibrationTable:
    """Measures a float32 bundle on observations.

    Args:
        seen: the observations; the table keeps their origin.
        report: called with (stage, fraction), stages as in PROGRESS_STAGES.
        executor: measures the sensitivities; None: this process does, on all cores.

    Raises:
        BadInputError: no observation, or the bundle is not in float32.
        VppEdgeError: a worker died or failed.
    """
    if not seen.samples:
        raise BadInputError("calibration needs at least one observation")
    for name in INT8_STAGES:
        if bundle.stage(name).precision != "fp32":
            raise BadInputError(
                f"{bundle.path} is in {bundle.stage(name).precision}; calibrate the float32 bundle it was made from"
            )
    bundle.refuse_links()
    references = references_from_bundle(bundle, seen.samples, report)
    # The graph with switches has every product twice: with 1.5 GiB here, 2.7 GiB were measured there.
    switched_bytes = 2 * peak_memory_bytes()
    gc.collect()  # the sessions hold all weights
    # At run time a policy is pulled to the previous chunk: half of the observations of `act` are, too.
    acting = [with_prefix(r) if i % 2 else r for i, r in enumerate(references)]
    stages = {}
    with tempfile.TemporaryDirectory(prefix="vpp-edge-calibration-") as work:
        for i, name in enumerate(INT8_STAGES):
            stage = _StageCalibration(
                bundle, name=name, references=acting if name == "act" else references, options=options, work=Path(work)
            )
            table = stage.measure()
            report("ranges", (i + 1) / len(INT8_STAGES))
            stages[name] = table
        if options.sensitivity_samples:
            stages = _with_sensitivity(
                bundle,
                tables=stages,
                references=references,
                options=options,
                work=Path(work),
                memory_bytes=switched_bytes,
                executor=executor,
                report=report,
            )
    return CalibrationTable(
        method=options.method, alpha=options.alpha, data=seen.data, stages=stages, recordings=seen.content
    )


class _StageCalibration:
    def __init__(
        self, bundle: Bundle, name: str, references: Sequence[Reference], options: CalibrationOptions, work: Path
    ) -> None:
        self.key, self.graph = stage_key(bundle, name), flat_graph(bundle.path / bundle.stage(name).graph, work)
        self.feeds = [r.inputs[name] for r in references]
        self.options, self.work = options, work

    def measure(self) -> StageTable:
        smoothing = self._smoothing() if self.options.alpha else {}
        smoothed = self.work / f"{self.graph.stem}-smoothed.onnx"
        products = [p for p in write_smoothed(self.graph, smoothed, smoothing) if not p.reason]
        found = ranges(
            smoothed,
            products=products,
            feeds=self.feeds,
            work=self.work,
            method=self.options.method,
            percentile=self.options.percentile,
        )
        return StageTable(
            graph_sha256=self.key,
            ranges={n: _rounded(v) for n, v in found.items()},
            smoothing={n: tuple(_rounded(float(v)) for v in f) for n, f in smoothing.items()},
        )

    def _smoothing(self) -> dict[str, np.ndarray]:
        groups = smoothing_maxima(self.graph)
        axes: dict[str, int | None] = {tensor: group.axis for group, _ in groups for tensor in group.inputs}
        largest = magnitudes(self.graph, axes, self.feeds, self.work)
        return {
            g.name: smoothing_factors(np.max([largest[t] for t in g.inputs], axis=0), weights, self.options.alpha)
            for g, weights in groups
        }


def _with_sensitivity(
    bundle: Bundle,
    tables: Mapping[str, StageTable],
    references: Sequence[Reference],
    options: CalibrationOptions,
    work: Path,
    memory_bytes: int,
    executor: Executor | None,
    report: ProgressCallback,
) -> dict[str, StageTable]:
    """The tables with the error of the actions per layer; perceive first, which has nearly all layers."""
    spread = np.linspace(0, len(references) - 1, min(options.sensitivity_samples, len(references))).round().astype(int)
    found, share = {}, {"perceive": (0.0, 0.95), "act": (0.95, 1.0)}
    for name in INT8_STAGES:
        table, switched = tables[name], work / f"{name}-switched.onnx"
        graph, act = (bundle.path.absolute() / bundle.stage(stage).graph for stage in (name, "act"))
        stage = SwitchedStage(
            name=name,
            graph=graph,
            act=act,
            switched=switched,
            products=tuple(write_switched(graph, switched, table)),
            table=table,
            references=tuple(references[i] for i in spread),
            memory_bytes=memory_bytes,
        )
        start, end = share[name]

        def part(stage: str, done: float, start: float = start, end: float = end) -> None:
            report(stage, start + (end - start) * done)

        errors = layer_errors(stage, executor, part)
        found[name] = replace(table, sensitivity={layer: _rounded(error) for layer, error in errors.items()})
        gc.collect()
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")  # the precision of float32, and readable
