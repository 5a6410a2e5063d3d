"""Write the FP16 or INT8 form of a stage's float32 graph, and the graphs that calibration measures with.

Every function reads one ONNX file and writes another with its weights next to it. Weights are memory-mapped, so a
full-size policy needs little memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import Product, StageTable
from vpp_edge.errors import BadInputError
from vpp_edge.export.functions.graphs import inline_calls, load_flat, outline_calls
from vpp_edge.export.origin import PRECISION
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
HALF_HEADROOM = 8.0  # factor between the largest observed magnitude and overflow in FP16


def flat_graph(source: Path, folder: Path) -> Path:
    """The graph with its function calls inlined, written to a folder; `source` itself if it has no functions."""
    import onnx_ir as ir

    model = ir.load(source)
    if not model.functions:
        return source
    inline_calls(model)
    target = folder / f"{source.stem}-flat.onnx"
    _save(model, target)
    return target


def float_tensors(source: Path) -> list[str]:
    """Names of all float32 node outputs of a graph."""
    import onnx_ir as ir

    return [v.name for n in load_flat(source).graph for v in n.outputs if v.dtype == ir.DataType.FLOAT]


def wide_nodes(source: Path, largest: Mapping[str, float], chunk: tuple[int, ...]) -> set[str]:
    """Names of the nodes that stay in float32 in an FP16 graph.

    These are nodes that write or read a tensor with a magnitude near the largest FP16 number, and the arithmetic on
    whole chunks of actions between the denoiser's passes, whose rounding would remain in the result.

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
    """The products of a stage, under the names that calibration tables use."""
    return products_of_graph(_prepared(source))


def smoothing_maxima(source: Path) -> list[tuple[SmoothingGroup, np.ndarray]]:
    """Smoothing groups, and (C,) the largest weight per channel of their inputs."""
    model = _prepared(source)
    return [(g, input_channel_maxima(model, g)) for g in smoothing_groups(products_of_graph(model))]


def write_smoothed(source: Path, target: Path, smoothing: Mapping[str, Any]) -> list[Product]:
    """Writes the float32 graph with SmoothQuant's factors applied; returns its products, whose inputs are renamed."""
    model, products = _smoothed(source, smoothing)
    _save(model, target)
    return products


def write_switched(source: Path, target: Path, table: StageTable) -> list[Product]:
    """Writes the smoothed float32 graph, where an input switches every product that may run in INT8.

    Returns:
        those products; the switch of each is `int8?<node>`, a scalar bool.
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
    """Writes the FP16 form of a stage or, with a table, the INT8 form.

    Args:
        wide: nodes that stay in float32.
        table: measurements of the stage; None for FP16.
        high: layers that could run in INT8 but stay in FP16.
        simulated: write a float32 graph that rounds like FP16 and INT8, to measure on a CPU (see `rounding`).

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
    if PRECISION in model.metadata_props:
        model.metadata_props[PRECISION] = "fp16" if table is None else "int8"
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
            "it belongs to another export. Run `vpp-edge calibrate` on this bundle."
        )
    return table.ranges


def _save(model: Any, target: Path) -> None:
    import onnx_ir as ir

    ir.save(model, target, external_data=f"{target.name}.data")
