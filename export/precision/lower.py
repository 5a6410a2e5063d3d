"""Graphs of lower precision: in, the float32 graph of a stage; out, its FP16 or INT8 form, and graphs to measure with.

Every function reads one ONNX file and writes another with its weights beside it. Weights are mapped, not loaded, so a
full-size policy passes through in little memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import Product, StageTable
from vpp_edge.errors import BadInputError
from vpp_edge.export.functions.graphs import inline_calls, load_flat, outline_calls
from vpp_edge.export.precision.half import HALF_MAX, half_graph
from vpp_edge.export.precision.products import fold_transposed_weights, products_of_graph
from vpp_edge.export.precision.quantize import quantize_products
from vpp_edge.export.precision.rounding import rounded_graph
from vpp_edge.export.precision.smoothing import (
    SmoothingGroup,
    input_channel_maxima,
    smooth_graph,
    smoothing_groups,
)

_ARITHMETIC = ("Add", "Mul", "Sub")
HALF_HEADROOM = 8.0  # times larger than in every observation before FP16 overflows


def flat_graph(source: Path, folder: Path) -> Path:
    """The graph with the bodies of its functions in place of their calls, written to a folder; itself without calls."""
    import onnx_ir as ir

    model = ir.load(source)
    if not model.functions:
        return source
    inline_calls(model)
    target = folder / f"{source.stem}-flat.onnx"
    _save(model, target)
    return target


def float_tensors(source: Path) -> list[str]:
    """Names of everything in a graph that a node makes in float32."""
    import onnx_ir as ir

    return [v.name for n in load_flat(source).graph for v in n.outputs if v.dtype == ir.DataType.FLOAT]


def wide_nodes(source: Path, largest: Mapping[str, float], chunk: tuple[int, ...]) -> set[str]:
    """Names of the nodes that stay in float32 in an FP16 graph, and why.

    Nodes that make or read a tensor whose magnitude comes near the largest number of FP16; and the arithmetic on whole
    chunks of actions between the denoiser's passes, whose rounding would stay in the result.

    Args:
        largest: magnitude by tensor, over all observations.
        chunk: (1, T, A).
    """
    import onnx_ir as ir

    limit, model = HALF_MAX / HALF_HEADROOM, load_flat(source)
    wide = set()
    for node in model.graph:
        floats = [v for v in (*node.inputs, *node.outputs) if v is not None and v.dtype == ir.DataType.FLOAT]
        varying = [v for v in floats if not v.is_initializer()]
        on_chunks = node.op_type in _ARITHMETIC and all(tuple(v.shape) == chunk for v in varying)
        if varying and (on_chunks or any(largest.get(v.name, 0) > limit for v in varying)):
            wide.add(node.name)
    return wide


def stage_products(source: Path) -> list[Product]:
    """The products of a stage as the tables call them."""
    return products_of_graph(_prepared(source))


def smoothing_maxima(source: Path) -> list[tuple[SmoothingGroup, np.ndarray]]:
    """Smoothing groups, and (C,) the largest weight per channel of their inputs."""
    model = _prepared(source)
    return [(g, input_channel_maxima(model, g)) for g in smoothing_groups(products_of_graph(model))]


def write_smoothed(source: Path, target: Path, smoothing: Mapping[str, Any]) -> list[Product]:
    """Writes the float32 graph with SmoothQuant's factors in it; returns its products, whose inputs have new names."""
    model, products = _smoothed(source, smoothing)
    _save(model, target)
    return products


def write_switched(source: Path, target: Path, table: StageTable) -> list[Product]:
    """Writes the smoothed graph in float32 with every product that may run in INT8 switchable by an input.

    Returns:
        those products; the input of each is `int8?<node>`, a scalar bool.
    """
    model, products = _smoothed(source, table.smoothing)
    able = [p for p in products if not p.reason]
    quantize_products(model, able, _checked(table, able), switched=True)
    _save(model, target)
    return able


def write_lowered(
    source: Path,
    target: Path,
    wide: Collection[str],
    table: StageTable | None = None,
    high: Collection[str] = (),
    simulated: bool = False,
) -> int:
    """Writes the FP16 form of a stage, with a table the INT8 form.

    Args:
        wide: nodes that stay in float32.
        table: measurements of the stage; None for FP16.
        high: layers that keep FP16 though they could run in INT8.
        simulated: a float32 graph that rounds as FP16 and INT8 do, to be measured on a CPU (see `rounding`).

    Returns:
        multiply-accumulates in INT8.
    """
    model, products = _smoothed(source, {} if table is None else table.smoothing)
    low = [] if table is None else [p for p in products if not p.reason and p.layer not in high and p.node not in wide]
    (rounded_graph if simulated else half_graph)(model, wide)
    if table is not None:
        quantize_products(model, low, _checked(table, low))
    if not simulated:
        outline_calls(model)
    _save(model, target)
    return sum(p.macs for p in low)


def _prepared(source: Path) -> Any:
    model = load_flat(source)
    fold_transposed_weights(model)
    return model


def _smoothed(source: Path, smoothing: Mapping[str, Any]) -> tuple[Any, list[Product]]:
    model = _prepared(source)
    products = products_of_graph(model)
    if smoothing:
        smooth_graph(model, smoothing_groups(products), {n: np.asarray(f) for n, f in smoothing.items()})
        products = products_of_graph(model)
    return model, products


def _checked(table: StageTable, products: Sequence[Product]) -> Mapping[str, float]:
    missing = {a for p in products for a in p.activations} - table.ranges.keys()
    if missing:
        raise BadInputError(
            f"the calibration table has no range for {len(missing)} tensors of this graph, such as {min(missing)!r}; "
            "it is from another export. Run `vpp-edge calibrate` on this bundle."
        )
    return table.ranges


def _save(model: Any, target: Path) -> None:
    import onnx_ir as ir

    ir.save(model, target, external_data=f"{target.name}.data")
