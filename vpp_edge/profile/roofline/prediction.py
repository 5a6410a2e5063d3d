"""Predict the time of a bundle on a device, per stage, part and layer.

Only the graphs are read, never the weights, so a full-size policy takes a second on any machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.bundle.work import Graph, work_of_bundle
from vpp_edge.errors import BadInputError
from vpp_edge.profile.roofline.accelerators import (
    BANDWIDTH,
    EFFICIENCIES,
    KERNEL_S,
    KERNEL_SOURCE,
    SPARSE,
    VECTOR,
    Device,
)
from vpp_edge.profile.roofline.costs import ENABLE, SPARSITIES, Cost, costs_of_graph, with_sparsity
from vpp_edge.profile.roofline.layers import part_of

# One inference with a given instruction, as in measured latencies.
INFERENCE = ("perceive", "act")


@dataclass(frozen=True)
class Sum:
    """The sum of the costs of kernels.

    Attributes:
        operations: of matrix products, 2 per multiply-accumulate. `vector_operations` are the elementwise ones.
        int8_share: share of `operations` that runs in INT8.
        sparse_share: share of `operations` that multiply with 2:4 sparse weights in FP16 or INT8.
        weight_bytes, activation_bytes: memory traffic, so a weight that two kernels read counts twice.
        bound: the bound with the largest share of the predicted time.
    """

    kernels: int
    operations: int
    vector_operations: int
    int8_share: float
    sparse_share: float
    weight_bytes: float
    activation_bytes: float
    floor_ms: float
    predicted_ms: float
    bound: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Prediction:
    """Predicted, not measured, cost of a bundle on a device.

    Attributes:
        precision, exported: by stage, the precision of the prediction and that of the bundle.
        costs: kernels by stage.
        unknown: operators that are not counted, with their number, by stage.
    """

    device: Device
    cameras: int
    precision: Mapping[str, str]
    exported: Mapping[str, str]
    costs: Mapping[str, Sequence[Cost]]
    unknown: Mapping[str, Mapping[str, int]]

    def stages(self) -> dict[str, Sum]:
        """By stage, and `total` for one inference: perceive and act."""
        stages = {name: sum_of(costs) for name, costs in self.costs.items()}
        return {**stages, "total": sum_of(c for name in INFERENCE for c in self.costs.get(name, ()))}

    def parts(self) -> dict[tuple[str, str], Sum]:
        """By stage and part of the policy, such as `UNet` of perceive."""
        found: dict[tuple[str, str], list[Cost]] = defaultdict(list)
        for stage, costs in self.costs.items():
            for cost in costs:
                found[stage, part_of(stage, cost.layer)].append(cost)
        return {key: sum_of(costs) for key, costs in found.items()}

    def layers(self) -> list[tuple[tuple[str, str, str], Sum]]:
        """(stage, path, kind) and its cost, of one inference, the longest first."""
        found: dict[tuple[str, str, str], list[Cost]] = defaultdict(list)
        for stage in INFERENCE:
            for cost in self.costs.get(stage, ()):
                found[stage, cost.layer, cost.kind].append(cost)
        return sorted(((key, sum_of(costs)) for key, costs in found.items()), key=lambda item: -item[1].predicted_ms)

    def assumptions(self) -> list[dict[str, Any]]:
        """Every efficiency that this prediction uses, with its source."""
        used = {(c.kind, c.precision) for costs in self.costs.values() for c in costs}
        classes = [
            {"class": kind, "precision": precision, "share": e.share, "source": e.source}
            for (kind, precision), e in EFFICIENCIES.items()
            if (kind, precision) in used
        ]
        if any(c.sparse for costs in self.costs.values() for c in costs):
            classes.append({"class": "2:4 sparse", "precision": None, "share": SPARSE.share, "source": SPARSE.source})
        return [
            *classes,
            {"class": "elementwise", "precision": "fp32", "share": VECTOR.share, "source": VECTOR.source},
            {"class": "memory bandwidth", "precision": None, "share": BANDWIDTH.share, "source": BANDWIDTH.source},
            {"class": "shortest kernel", "precision": None, "microseconds": KERNEL_S * 1e6, "source": KERNEL_SOURCE},
        ]

    def to_json(self, top: int) -> dict[str, Any]:
        """Plain values, with the `top` layers of longest predicted time."""
        stages = self.stages()
        total_ms = stages["total"].predicted_ms
        return {
            "predicted": True,
            "measured": False,
            "device": asdict(self.device),
            "cameras": self.cameras,
            "precision": dict(self.precision),
            "exported_precision": dict(self.exported),
            "stages": {name: stage.to_json() for name, stage in stages.items()},
            "parts": [
                {"stage": stage, "part": part, "operations_per_view": s.operations / self.cameras, **s.to_json()}
                for (stage, part), s in self.parts().items()
            ],
            "layers": [
                {"stage": stage, "layer": path, "kind": kind, "share": s.predicted_ms / total_ms, **s.to_json()}
                for (stage, path, kind), s in self.layers()[:top]
            ],
            "not_counted": {stage: dict(ops) for stage, ops in self.unknown.items() if ops},
            "assumptions": self.assumptions(),
        }


def predict_bundle(bundle: Bundle, device: Device, precision: str | None = None, sparsity: str = ENABLE) -> Prediction:
    """Predicts every stage of a bundle.

    Args:
        precision: `fp32`, `fp16` or `int8`, also if the bundle was exported in another one; None: that of each stage.
        sparsity: one of SPARSITIES, see `with_sparsity`.

    Raises:
        BadInputError: unknown precision or sparsity, or a graph without static shapes.
        BundleError: a graph is missing, changed or not an ONNX file.
    """
    if precision is not None and precision not in PRECISIONS:
        raise BadInputError(f"unknown precision {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if sparsity not in SPARSITIES:
        raise BadInputError(f"unknown sparsity {sparsity!r}; expected one of {', '.join(SPARSITIES)}")
    exported = {name: stage.precision for name, stage in bundle.manifest.stages.items()}
    precisions = {name: precision or own for name, own in exported.items()}
    graphs = {name: with_sparsity(graph, sparsity) for name, graph in graphs_of_bundle(bundle).items()}
    return Prediction(
        device=device,
        cameras=len(bundle.manifest.policy.cameras),
        precision=precisions,
        exported=exported,
        costs={name: costs_of_graph(graph, device, precisions[name]) for name, graph in graphs.items()},
        unknown={name: graph.unknown for name, graph in graphs.items()},
    )


def graphs_of_bundle(bundle: Bundle) -> dict[str, Graph]:
    """The work in every stage of a bundle: as counted at export, or counted now. Weights are not opened."""
    from vpp_edge.export.counting import graph_of_stage

    kept = work_of_bundle(bundle)
    return {name: kept[name] if name in kept else graph_of_stage(bundle, name) for name in bundle.manifest.stages}


def sum_of(costs: Iterable[Cost]) -> Sum:
    """Costs of kernels that run one after another."""
    all_costs = list(costs)
    operations = sum(c.matrix_operations for c in all_costs)
    in_int8 = sum(c.matrix_operations for c in all_costs if c.precision == "int8")
    sparse = sum(c.matrix_operations for c in all_costs if c.sparse)
    waits: dict[str, float] = defaultdict(float)
    for cost in all_costs:
        waits[cost.bound] += cost.predicted_s
    return Sum(
        kernels=len(all_costs),
        operations=operations,
        vector_operations=sum(c.vector_operations for c in all_costs),
        int8_share=in_int8 / operations if operations else 0.0,
        sparse_share=sparse / operations if operations else 0.0,
        weight_bytes=sum(c.weight_bytes for c in all_costs),
        activation_bytes=sum(c.activation_bytes for c in all_costs),
        floor_ms=1e3 * sum(c.floor_s for c in all_costs),
        predicted_ms=1e3 * sum(c.predicted_s for c in all_costs),
        bound=max(waits, key=lambda name: waits[name], default="memory"),
    )
