"""Parses a stage's verified graph and weights into a strongly typed TensorRT network.

The parser must read the bytes that were hashed, not files that may have changed since. TensorRT 10.13 and later (and
TensorRT-RTX 1.1 and later) load a graph and its weights from memory: `load_model_proto`, `load_initializer`,
`parse_model_proto` (https://github.com/onnx/onnx-tensorrt/pull/1031). Older versions, such as 10.3 of JetPack 6.2, load
external weights by file name only, and a graph that contains its weights would exceed protobuf's limit of 2 GB; so the
verified bytes are written to a new private folder and parsed from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp_edge.bundle.manifest import Bundle, StageRecord
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.policy.engines.onnx_scan import check_external_data
from vpp_edge.runtime.policy.engines.onnx_weights import external_weights


@dataclass(frozen=True)
class VerifiedStage:
    """A stage's graph, and its data files by name without folder, all verified."""

    record: StageRecord
    graph: bytes
    files: Mapping[str, Any]


def verified_stage(bundle: Bundle, stage: str) -> VerifiedStage:
    """Reads a stage of a bundle.

    Raises:
        BundleError: a file differs from the manifest, or the graph refers to other data.
    """
    record = bundle.stage(stage)
    graph = bytes(bundle.open_verified(record.graph))
    files = {} if record.weights is None else {record.weights.rsplit("/", 1)[-1]: bundle.open_verified(record.weights)}
    check_external_data(record.graph, graph, files.keys())
    return VerifiedStage(record, graph, files)


def network_from_stage(trt: Any, builder: Any, logger: Any, stage: VerifiedStage) -> tuple[Any, object]:
    """The network, and the objects that it refers to but does not own: keep these until the engine is built.

    Raises:
        BadInputError: the parser rejects the graph; contains its messages, the nodes and their operators.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # from version 11, all networks are
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if hasattr(parser, "load_initializer"):
        weights = external_weights(stage.record.graph, stage.graph, stage.files)
        parsed = parser.load_model_proto(stage.graph) and all(
            parser.load_initializer(name, array.ctypes.data, array.nbytes) for name, array in weights.items()
        )
        parsed = parsed and parser.parse_model_proto()
    else:
        weights = {}
        parsed = _parse_from_private_folder(parser, stage)
    if not parsed:
        raise BadInputError(rejection(parser, stage.record.name, f"{trt.__name__} {trt.__version__}"))
    return network, (parser, stage, weights)


def _parse_from_private_folder(parser: Any, stage: VerifiedStage) -> bool:
    """The parser copies or maps the weights while parsing, so the folder can be deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="vpp-edge-build-") as folder:  # mode 0700
        for name, content in stage.files.items():
            (Path(folder) / name).write_bytes(content)
        return bool(parser.parse(stage.graph, str(Path(folder) / "graph.onnx")))


def rejection(parser: Any, stage: str, library: str) -> str:
    """Which nodes a parser rejected and why, at most three."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    lines = [f"stage {stage}: the ONNX parser of {library} rejects its graph"]
    for error in errors[:3]:
        node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_name() else ""
        lines.append(f"  {node}{_first_line(error.desc())}")
    if len(errors) > 3:
        lines.append(f"  and {len(errors) - 3} more")
    return "\n".join(
        [*lines, "  Export the bundle again with this version of vpp-edge, and report it if that does not help."]
    )


def _first_line(description: str) -> str:
    """The relevant line: TensorRT repeats the node, and without a GPU every message contains a CUDA error."""
    lines = [line for line in description.splitlines() if line.strip() and "catchCudaError" not in line]
    useful = [line for line in lines if not line.startswith("Invalid Node - ")]
    return (useful or lines or ["no reason given"])[0]
