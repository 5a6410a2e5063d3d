"""The trade-off between INT8 share, error and latency of a calibrated bundle, as numbers and as lines of text.

Errors are measured, with INT8 simulated in the float32 graph; latencies are predicted by the cost model.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.quantization import CalibrationTable
from vpp_edge.bundle.reference import Reference
from vpp_edge.calibration.choice import Choice, choices, layers_from
from vpp_edge.calibration.measure import switched_run
from vpp_edge.cpu_session import cpu_session
from vpp_edge.errors import BadInputError
from vpp_edge.export.counting import graph_from_file
from vpp_edge.export.precision.lower import write_lowered, write_switched
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.profile.roofline.costs import costs_of_graph
from vpp_edge.profile.roofline.prediction import sum_of
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.spec.sample import Sample
from vpp_edge.workflow.calibrating import INT8_STAGES
from vpp_edge.workflow.lowering import layer_macs, measured_errors
from vpp_edge.workflow.references import references_from_bundle
from vpp_edge.workflow.sensitivities import relative_rms

PROGRESS_STAGES = (("choices", 90.0),)
SHARES = (1.0, 0.98, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0)  # of what can run in INT8


@dataclass(frozen=True)
class Point:
    """One choice of layers.

    Attributes:
        share: of all multiply-accumulates of an inference, in INT8.
        high: number of layers that could run in INT8 but stay in FP16.
        expected_error: relative RMS error of the actions, from the sensitivities; `error` is the measured one.
        cosine: worst cosine of the tokens.
        predicted_ms: of one inference on the device.
    """

    share: float
    high: int
    expected_error: float
    error: float
    cosine: float
    predicted_ms: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_tradeoff(
    bundle: Bundle,
    table: CalibrationTable,
    samples: Sequence[Sample],
    device: str,
    report: ProgressCallback = ignore_progress,
) -> list[Point]:
    """Points from all layers in INT8 to none.

    Args:
        bundle: the float32 bundle that the table was measured on.
        samples: observations to evaluate on.
        device: one of vpp_edge.profile.roofline.accelerators.DEVICES, whose latency is predicted.
        report: called with ("choices", fraction).

    Raises:
        BadInputError: the table has no sensitivities, or the device is unknown.
    """
    errors = measured_errors(table)
    if not errors:
        raise BadInputError("the calibration table has no sensitivities; use --sensitivity-samples 1 or more")
    macs, total = layer_macs(bundle)
    found = choices(layers_from(macs, errors), total)
    wanted = [min(found, key=lambda c: abs(c.share - s * found[0].share)) for s in SHARES]
    references = references_from_bundle(bundle, samples)
    gc.collect()
    points = []
    with tempfile.TemporaryDirectory(prefix="vpp-edge-choices-") as folder:
        evaluator = _Evaluator(bundle, table, references, Path(folder))
        for i, choice in enumerate(dict.fromkeys(wanted)):
            error, cosine = evaluator.errors(choice)
            milliseconds = _predicted_ms(bundle, table=table, choice=choice, device=device, work=Path(folder))
            points.append(
                Point(
                    share=choice.share,
                    high=len(choice.high),
                    expected_error=choice.expected_error,
                    error=error,
                    cosine=cosine,
                    predicted_ms=milliseconds,
                )
            )
            report("choices", (i + 1) / len(wanted))
    return points


class _Evaluator:
    """Runs the policy with any choice of layers in INT8, without rewriting the graphs."""

    def __init__(self, bundle: Bundle, table: CalibrationTable, references: Sequence[Reference], work: Path) -> None:
        self.references = references
        self.stages = {}
        for name in INT8_STAGES:
            switched = work / f"{name}-switched.onnx"
            products = write_switched(bundle.path / bundle.stage(name).graph, switched, table.stages[name])
            self.stages[name] = cpu_session(switched), products

    def errors(self, choice: Choice) -> tuple[float, float]:
        """Relative RMS error of the actions, and the worst cosine of the tokens."""
        from vpp_edge.bundle.comparison import compare

        runs = {}
        for name, (session, products) in self.stages.items():
            high = {layer.name for layer in choice.high if layer.stage == name}
            runs[name] = switched_run(session, products, {p.node for p in products if p.layer not in high})
        actions, cosine = [], 1.0
        for reference in self.references:
            tokens = runs["perceive"](reference.inputs["perceive"])["tokens"]
            actions.append(runs["act"]({**reference.inputs["act"], "tokens": tokens})["actions"])
            cosine = min(cosine, compare(tokens, reference.outputs["tokens"]).cosine)
        return relative_rms(actions, [r.outputs["actions"] for r in self.references]), cosine


def _predicted_ms(bundle: Bundle, table: CalibrationTable, choice: Choice, device: str, work: Path) -> float:
    milliseconds = 0.0
    for name in INT8_STAGES:
        path = work / f"{name}-choice.onnx"
        high = {layer.name for layer in choice.high if layer.stage == name}
        write_lowered(bundle.path / bundle.stage(name).graph, target=path, wide=(), table=table.stages[name], high=high)
        graph = graph_from_file(path)
        precision = "int8" if graph.quantized else "fp16"
        milliseconds += sum_of(costs_of_graph(graph, DEVICES[device], precision)).predicted_ms
    return milliseconds


def tradeoff_lines(points: Sequence[Point], observations: str, device: str) -> list[str]:
    """The table as aligned lines."""
    lines = [
        f"choices of INT8 layers, evaluated on {observations}; latency on {device} is predicted, not measured",
        f"  {'in INT8':>8} {'layers kept':>12} {'expected':>9} {'measured':>9} {'tokens':>9} {'predicted':>10}",
        f"  {'of MACs':>8} {'in FP16':>12} {'error':>9} {'error':>9} {'cosine':>9} {'ms':>10}",
    ]
    lines += [
        f"  {100 * p.share:>7.1f}% {p.high:>12} {100 * p.expected_error:>8.2f}% {100 * p.error:>8.2f}% "
        f"{p.cosine:>9.5f} {p.predicted_ms:>10.2f}"
        for p in points
    ]
    return [*lines, "  error: of the actions, relative RMS"]
