"""Count the work of a policy that need not exist: in, its sizes; out, the graphs of its export, without weights.

The stages are built and traced on fake tensors, which have a shape and a type but no numbers, so that the UNet of a
policy of full size takes no memory. Tensors of one number, the shares of blends, are real: the export reads them.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, is_fake

from vpp_edge.bundle.work import Graph
from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.parts import ModelPart
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.checkpoint.shapes import Shapes, text_shapes, unet_shapes, vae_shapes
from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.export.counting import graph_from_model
from vpp_edge.export.onnx_writer import example_input, program_from_stage
from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.model.policy import policy_from_checkpoint

COUNTED = ("perceive", "act")  # what runs at every inference


def graphs_without_weights(checkpoint: Checkpoint) -> dict[str, Graph]:
    """The work in each of the COUNTED stages, as an export of these sizes has it; seconds to a minute at any size.

    Args:
        checkpoint: only its configurations and its spec are read, none of its tensors.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    stages = stages_from_policy(policy_from_checkpoint(_faked(checkpoint, mode)), checkpoint.spec)
    graphs = {}
    for stage in stages:
        if stage.name in COUNTED:
            graphs[stage.name] = _graph(stage, mode)
            gc.collect()  # the traced program holds itself in reference cycles
    return graphs


def _faked(c: Checkpoint, mode: FakeTensorMode) -> Checkpoint:
    def part(config: dict[str, Any], shapes: Shapes) -> ModelPart:
        return ModelPart(config, _fakes(shapes, mode))

    head = {n: s for n, s in names.head_tensors(c.config.head).items() if n not in names.UNUSED}
    return replace(
        c,
        unet=part(c.unet.config, unet_shapes(c.unet.config)),
        vae=part(c.vae.config, vae_shapes(c.vae.config)),
        text=part(c.text.config, text_shapes(c.text.config)),
        former=_fakes(names.former_tensors(c.config.former), mode),
        head=_fakes(head, mode),
    )


def _fakes(shapes: Mapping[str, Sequence[int]], mode: FakeTensorMode) -> Tensors:
    with mode:
        fakes = {name: torch.empty(tuple(shape)) for name, shape in shapes.items()}
    return {name: torch.zeros(fake.shape) if fake.numel() == 1 else fake for name, fake in fakes.items()}


def _graph(stage: Stage, mode: FakeTensorMode) -> Graph:
    import onnx_ir as ir

    with mode:
        examples = [example_input(spec) for spec in stage.inputs]
    model = program_from_stage(stage, examples, _fill).model
    for name, value in model.graph.initializers.items():
        known = value.const_value
        value.const_value = ir.ExternalTensor("weights", 0, known.nbytes, known.dtype, shape=known.shape, name=name)
    return graph_from_model(ir.to_proto(model))


def _fill(model: Any) -> None:
    """Gives fake initializers numbers, for the optimizer to fold: one number each, which no other has."""
    import onnx_ir as ir

    for number, (name, value) in enumerate(model.graph.initializers.items()):
        known = value.const_value
        if is_fake(known.raw):
            same = np.broadcast_to(np.array(0.5 + number / 65536, known.dtype.numpy()), tuple(known.shape))
            value.const_value = ir.Tensor(same, name=name)
