"""Write a stage with fixed shapes as `<stage>.onnx` with its weights in `<stage>.onnx.data`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vpp_edge.export.functions.graphs import define_functions
from vpp_edge.export.stages import Stage
from vpp_edge.spec.policy import TensorSpec

OPSET = 20


def write_onnx(stage: Stage, folder: Path) -> tuple[Path, Path]:
    """Traces a stage with the dynamo exporter and writes graph and weights, one file each.

    Returns:
        paths of the graph and of its external data.
    """
    path = folder / f"{stage.name}.onnx"
    program = program_from_stage(stage, tuple(example_input(spec) for spec in stage.inputs))
    with _quiet():
        program.save(path, external_data=True)
    return path, path.with_name(path.name + ".data")


def program_from_stage(
    stage: Stage, examples: Sequence[torch.Tensor], fill: Callable[[Any], None] = lambda model: None
) -> Any:
    """The torch.onnx.ONNXProgram of a stage, optimized.

    Args:
        examples: inputs of the stage.
        fill: may change the values of the traced model's initializers before the optimizer looks at them.
    """
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            stage.module,
            tuple(examples),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            optimize=False,
            input_names=[s.name for s in stage.inputs],
            output_names=[s.name for s in stage.outputs],
        )
        fill(program.model)
        program.optimize()
        _drop_traces(program.model)
        define_functions(program.model)
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in ("torch.onnx", "onnxscript", "onnx_ir"):
            logging.getLogger(library).setLevel(logging.ERROR)  # notes on each constant that was not folded
        yield


def _drop_traces(model: Any) -> None:
    """Removes the exporter's metadata from every node: stack traces with paths of the exporting machine."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs):
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()


def example_input(spec: TensorSpec) -> torch.Tensor:
    """Ones of a spec's shape and dtype, valid as input of every stage (masks of zeros would not be)."""
    return torch.ones(spec.shape, dtype=getattr(torch, spec.dtype))
