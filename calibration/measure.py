"""Measure a stage on observations: ranges for its StageTable, and runs with some products in INT8.

Everything runs in ONNX Runtime on the float32 graph, the reference for INT8.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import SWITCH, Product
from vpp_edge.calibration.probe import largest_magnitudes, probed_graph
from vpp_edge.calibration.ranges import BINS, SMALLEST, histograms, range_from_histogram
from vpp_edge.cpu_session import cpu_session
from vpp_edge.errors import BadInputError

Feed = Mapping[str, np.ndarray]


def magnitudes(
    graph: Path, tensors: Mapping[str, int | None], feeds: Sequence[Feed], work: Path
) -> dict[str, np.ndarray]:
    """Largest magnitude of every tensor over all feeds: (C,) per entry of its axis, () if the axis is None."""
    probed = work / f"{graph.stem}-probed.onnx"
    probed_graph(graph, probed, tensors)
    try:
        return largest_magnitudes(cpu_session(probed), feeds)
    finally:
        for path in (probed, probed.with_name(f"{probed.name}.data")):
            path.unlink(missing_ok=True)


def ranges(
    graph: Path, products: Sequence[Product], feeds: Sequence[Feed], work: Path, method: str, percentile: float
) -> dict[str, float]:
    """The range of every activation of the products, by tensor.

    Args:
        graph: smoothed, in float32.
        method: one of vpp_edge.bundle.quantization.METHODS; all but `max` run every feed a second time.

    Raises:
        BadInputError: an unknown method or percentile, or a tensor that becomes NaN or infinite.
    """
    tensors = list(dict.fromkeys(a for p in products for a in p.activations))
    found = magnitudes(graph, dict.fromkeys(tensors), feeds, work)
    broken = [name for name, value in found.items() if not np.isfinite(value)]
    if broken:
        raise BadInputError(f"{graph}: tensor {broken[0]} becomes {found[broken[0]]}; ranges need finite activations")
    largest = {name: max(float(value), SMALLEST) for name, value in found.items()}
    if method == "max":
        return {name: range_from_histogram(np.zeros(BINS), value, method) for name, value in largest.items()}
    with_outputs = work / f"{graph.stem}-outputs.onnx"
    sizes = _with_outputs(graph, with_outputs, tensors)
    counts = histograms(cpu_session(with_outputs), sizes, largest, feeds)
    return {n: range_from_histogram(counts[n], largest[n], method, percentile) for n in tensors}


def nodes_by_layer(products: Sequence[Product]) -> dict[str, set[str]]:
    """By layer, the nodes of its products; in the order of the products."""
    layers: dict[str, set[str]] = defaultdict(set)
    for product in products:
        layers[product.layer].add(product.node)
    return dict(layers)


def switched_run(session: Any, products: Sequence[Product], low: set[str]) -> Callable[[Feed], dict[str, np.ndarray]]:
    """Runs a switched graph with the named nodes in INT8."""
    switches = {SWITCH + p.node: np.array(p.node in low) for p in products}
    names = [o.name for o in session.get_outputs()]

    def run(feed: Feed) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {**feed, **switches}), strict=True))

    return run


def _with_outputs(source: Path, target: Path, tensors: Sequence[str]) -> dict[str, int]:
    """Writes the graph with the tensors as additional outputs; returns their bytes by name."""
    import onnx_ir as ir

    model = ir.load(source)
    values = {v.name: v for v in model.graph.inputs} | {v.name: v for n in model.graph for v in n.outputs}
    outputs = set(model.graph.outputs)
    sizes = {}
    for name in tensors:
        value = values[name]
        sizes[name] = math.prod(value.shape) * 4
        if value not in outputs and not value.is_graph_input():  # the feed has the inputs
            model.graph.outputs.append(value)
    ir.save(model, target, external_data=f"{target.name}.data")
    return sizes
