"""The error of the actions when one layer alone runs in INT8, for every layer of a stage.

The layers are independent, so this process or the workers of an executor measure them, one after the other.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import Product, StageTable
from vpp_edge.bundle.reference import Reference
from vpp_edge.calibration.measure import nodes_by_layer, switched_run
from vpp_edge.cpu_session import cpu_session, exact_settings
from vpp_edge.executor.interface import Executor, Needs
from vpp_edge.export.precision.lower import write_switched
from vpp_edge.progress import ProgressCallback, ignore_progress


@dataclass(frozen=True)
class SwitchedStage:
    """A stage whose layers can be switched to INT8, and the observations that their errors are measured on.

    Attributes:
        name: `perceive` or `act`.
        graph, act: of the stage and of stage act, in float32; absolute, the same on every machine.
        switched: what `write_switched` wrote; a machine that does not see it writes it again.
        products: which `write_switched` returned.
        table: its ranges and smoothing.
        memory_bytes: of a process that runs it.
    """

    name: str
    graph: Path
    act: Path
    switched: Path
    products: tuple[Product, ...]
    table: StageTable
    references: tuple[Reference, ...]
    memory_bytes: int


def layer_errors(
    stage: SwitchedStage, executor: Executor | None, report: ProgressCallback = ignore_progress
) -> dict[str, float]:
    """By layer, the relative RMS error of the actions.

    Args:
        executor: measures them; None: this process does, on all cores.
        report: called with ("sensitivity", fraction).

    Raises:
        VppEdgeError: a worker died or failed.
    """
    layers = tuple(nodes_by_layer(stage.products))
    found: dict[int, float] = {}
    for number, error in _errors(stage, executor, range(len(layers))):
        found[number] = error
        report("sensitivity", len(found) / len(layers))
    return {layer: found[number] for number, layer in enumerate(layers)}


def _errors(stage: SwitchedStage, executor: Executor | None, numbers: Iterable[int]) -> Iterable[tuple[int, float]]:
    if executor is None:
        measure = open_layer_error(stage)
        return ((number, measure(number)) for number in numbers)
    needs = Needs(files=tuple({stage.graph.parent, stage.act.parent}), memory_bytes=stage.memory_bytes)
    return executor.results(open_layer_error, (stage, executor.threads), numbers, needs)


def open_layer_error(stage: SwitchedStage, threads: int = 0) -> Callable[[int], float]:
    """A function that measures the error of a layer by number.

    Args:
        threads: of ONNX Runtime; 0: one per core.
    """
    session, low = _switched_session(stage, threads), tuple(nodes_by_layer(stage.products).values())
    act = _session(stage.act, threads) if stage.name == "perceive" else None
    actions = [reference.outputs["actions"] for reference in stage.references]

    def error(number: int) -> float:
        run = switched_run(session, stage.products, low[number])
        outputs = [run(reference.inputs[stage.name]) for reference in stage.references]
        if act is None:
            return relative_rms([output["actions"] for output in outputs], actions)
        feeds = [{**r.inputs["act"], "tokens": o["tokens"]} for r, o in zip(stage.references, outputs, strict=True)]
        return relative_rms([act.run(["actions"], feed)[0] for feed in feeds], actions)

    return error


def _switched_session(stage: SwitchedStage, threads: int) -> Any:
    if stage.switched.exists():
        return _session(stage.switched, threads)
    with tempfile.TemporaryDirectory(prefix="vpp-edge-calibration-") as folder:  # an open session needs it no more
        path = Path(folder) / stage.switched.name
        write_switched(stage.graph, path, stage.table)
        return _session(path, threads)


def _session(graph: Path, threads: int) -> Any:
    settings = exact_settings()
    settings.intra_op_num_threads = threads
    return cpu_session(graph, settings)


def relative_rms(arrays: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> float:
    """Root mean square error of all arrays together over that of the references; 1e9 if one is not finite."""
    error = sum(float(np.sum((a.astype(np.float64) - r) ** 2)) for a, r in zip(arrays, references, strict=True))
    size = sum(float(np.sum(r.astype(np.float64) ** 2)) for r in references)
    return math.sqrt(error / size) if math.isfinite(error) else 1e9
