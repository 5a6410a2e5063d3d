"""The errors of layers that run in INT8 alone are their own, and the same whoever measures them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.quantization import StageTable
from vpp_edge.calibration.measure import nodes_by_layer
from vpp_edge.executor.processes import Processes
from vpp_edge.export.precision.lower import stage_products, write_switched
from vpp_edge.export.samples import random_samples
from vpp_edge.workflow.references import references_from_bundle
from vpp_edge.workflow.sensitivities import SwitchedStage, layer_errors, open_layer_error

RANGE, COARSE = 4.0, 1e6  # of an activation in INT8: about right, and one in which every activation rounds to zero


def switched_stage(bundle: Path, name: str, folder: Path, coarse: str = "") -> SwitchedStage:
    """A stage of a bundle, with the range COARSE for the activations of layer `coarse`."""
    opened = Bundle(bundle)
    graph, switched = bundle / opened.stage(name).graph, folder / f"{name}.onnx"
    able = [product for product in stage_products(graph) if not product.reason]
    ranges = {tensor: RANGE for product in able for tensor in product.activations}
    ranges |= {tensor: COARSE for product in able if product.layer == coarse for tensor in product.activations}
    table = StageTable(graph_sha256="", ranges=ranges)
    return SwitchedStage(
        name=name,
        graph=graph,
        act=bundle / opened.stage("act").graph,
        switched=switched,
        products=tuple(write_switched(graph, switched, table)),
        table=table,
        references=tuple(references_from_bundle(opened, random_samples(opened.manifest.policy, 2, seed=0))),
        memory_bytes=0,
    )


def test_a_layer_has_the_error_that_it_causes_alone(small_bundle: Path, tmp_path: Path) -> None:
    *_, coarse = nodes_by_layer([p for p in stage_products(small_bundle / "onnx" / "act.onnx") if not p.reason])
    fine, broken = (layer_errors(switched_stage(small_bundle, "act", tmp_path, c), None) for c in ("", coarse))
    assert broken.pop(coarse) > 10 * fine.pop(coarse) > 0
    assert broken == fine and min(fine.values()) > 0


@pytest.mark.live
def test_two_processes_that_do_not_see_the_switched_graph_find_the_same(small_bundle: Path, tmp_path: Path) -> None:
    stage = switched_stage(small_bundle, "act", tmp_path)
    error, reports = open_layer_error(stage, threads=1), []
    found = layer_errors(
        replace(stage, switched=tmp_path / "elsewhere" / "act.onnx"),
        Processes(2),
        lambda name, fraction: reports.append((name, fraction)),
    )
    assert list(found.values()) == [error(number) for number in range(len(found))]
    assert reports[-1] == ("sensitivity", 1) and len(reports) == len(found)


def test_perceive_is_measured_by_the_actions_too(small_bundle: Path, tmp_path: Path) -> None:
    stage = switched_stage(small_bundle, "perceive", tmp_path)
    error = open_layer_error(stage)
    assert 0 < error(0) < 0.5
