"""A policy of which only sizes are known has the graphs of its export: the same operators, kernels and times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_policy import SMALL

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.work import Graph
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.checkpoint.without_weights import checkpoint_without_weights
from vpp_edge.export.weightless import graphs_without_weights
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.profile.roofline.costs import costs_of_graph
from vpp_edge.profile.roofline.prediction import INFERENCE, Sum, graphs_of_bundle, sum_of


@pytest.fixture(scope="module")
def sizes() -> Checkpoint:
    return checkpoint_without_weights(SMALL)


def test_the_sizes_are_those_of_the_written_checkpoint(sizes: Checkpoint, small_checkpoint: Path) -> None:
    read = read_checkpoint(paths_from_folder(small_checkpoint), Choices())
    assert (sizes.config, sizes.trained, sizes.scheduler) == (read.config, read.trained, read.scheduler)
    assert (sizes.unet.config, sizes.vae.config) == (read.unet.config, read.vae.config)
    assert read.spec.state is not None and sizes.spec.state is not None
    unbounded = replace(
        read.spec, action=replace(read.spec.action, bounds=None), state=replace(read.spec.state, bounds=None)
    )
    assert sizes.spec == unbounded


def test_the_graphs_are_those_of_the_export(sizes: Checkpoint, small_bundle: Path) -> None:
    found, exported = graphs_without_weights(sizes), graphs_of_bundle(Bundle(small_bundle))
    assert set(found) == set(INFERENCE)
    for stage in INFERENCE:
        assert [n.op for n in found[stage].nodes] == [n.op for n in exported[stage].nodes]
        assert found[stage].matrix_operations() == exported[stage].matrix_operations() > 0
        assert sums(found[stage]) == sums(exported[stage])


def sums(graph: Graph) -> list[Sum]:
    """In every precision, on a device: on the others too, since a cost is that of a graph."""
    return [sum_of(costs_of_graph(graph, DEVICES["orin-nx-16gb"], p)) for p in ("fp32", "fp16", "int8")]
