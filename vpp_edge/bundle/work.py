"""The work in the stages of a bundle, counted at export: what the cost model reads where no ONNX library is installed.

A stage's graph is kept as nodes with their operations and as tensors with their shapes, functions inlined, in the file
`work.json`. Of the weights, it says only which are 2:4 sparse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from vpp_edge.errors import BundleError

if TYPE_CHECKING:
    from vpp_edge.bundle.manifest import Bundle

WORK_NAME = "work.json"
KINDS = MATRIX, NORM, POINTWISE, MOVE, VIEW, PART, CONSTANT, UNKNOWN = (
    "matrix", "norm", "pointwise", "move", "view", "part", "constant", "unknown",
)  # fmt: skip
# Another way to address the same numbers. Quantize and dequantize are part of the kernels before and after them.
VIEWS = frozenset({
    "Concat", "DepthToSpace", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Identity", "QuantizeLinear",
    "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
_SCHEMA = 1

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph: shape, bytes of an element as exported, and whether elements are real numbers."""

    shape: Shape
    element_bytes: float
    floating: bool

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One node and its work.

    Attributes:
        kind: MATRIX (products), NORM (normalizations and reductions), POINTWISE, MOVE (copies to other addresses),
            VIEW and PART (no work: all or part of the input under another addressing), CONSTANT (depends on no input of
            the graph, so an engine computes it at build time), UNKNOWN.
        matrix_operations: operations of the products, 2 per multiply-accumulate.
        vector_operations: elementwise and reducing operations, estimates of one instruction each.
    """

    index: int
    name: str
    op: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    matrix_operations: int = 0
    vector_operations: int = 0


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, tensors by name, constants (weights and values computed from them), outputs.

    Attributes:
        unknown: number of nodes per operator whose work cannot be counted; their bytes are counted.
        quantized: QuantizeLinear and DequantizeLinear state what runs in INT8.
        sparse: indices of the products whose weights are 2:4 sparse; empty where the weights were not looked at.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    constants: frozenset[str]
    outputs: frozenset[str]
    unknown: Mapping[str, int]
    quantized: bool
    sparse: frozenset[int] = frozenset()

    def matrix_operations(self) -> int:
        """Sum over all nodes, 2 per multiply-accumulate."""
        return sum(node.matrix_operations for node in self.nodes)

    def sparse_share(self) -> float:
        """Share of these operations that multiply with 2:4 sparse weights."""
        sparse = sum(node.matrix_operations for node in self.nodes if node.index in self.sparse)
        return sparse / max(1, self.matrix_operations())

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `graph_from_json`."""
        return {
            "nodes": [astuple(node) for node in self.nodes],
            "tensors": {name: astuple(tensor) for name, tensor in self.tensors.items()},
            "constants": sorted(self.constants),
            "outputs": sorted(self.outputs),
            "unknown": dict(self.unknown),
            "quantized": self.quantized,
            "sparse": sorted(self.sparse),
        }


def graph_from_json(data: Any) -> Graph:
    """The graph that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    return Graph(
        nodes=tuple(map(_node, data["nodes"])),
        tensors={str(name): _tensor(values) for name, values in data["tensors"].items()},
        constants=frozenset(map(str, data["constants"])),
        outputs=frozenset(map(str, data["outputs"])),
        unknown={str(op): int(count) for op, count in data["unknown"].items()},
        quantized=bool(data["quantized"]),
        sparse=frozenset(map(int, data.get("sparse", ()))),  # not in bundles of earlier versions
    )


def _node(values: Any) -> Node:
    index, name, op, kind, inputs, outputs, matrix, vector = values
    if kind not in KINDS:
        raise ValueError(f"a node of kind {kind!r}")
    return Node(
        index=int(index),
        name=str(name),
        op=str(op),
        kind=kind,
        inputs=tuple(map(str, inputs)),
        outputs=tuple(map(str, outputs)),
        matrix_operations=int(matrix),
        vector_operations=int(vector),
    )


def _tensor(values: Any) -> Tensor:
    shape, element_bytes, floating = values
    return Tensor(shape=tuple(map(int, shape)), element_bytes=float(element_bytes), floating=bool(floating))


def work_json(graphs: Mapping[str, Graph], hashes: Mapping[str, str]) -> str:
    """The content of `work.json`: by stage, its graph and the SHA-256 of the ONNX file that it was counted in."""
    stages = {name: {"graph_sha256": hashes[name], **graph.to_json()} for name, graph in graphs.items()}
    return json.dumps({"schema_version": _SCHEMA, "stages": stages}, separators=(",", ":"))


def work_of_bundle(bundle: Bundle) -> dict[str, Graph]:
    """The graphs that a bundle keeps, by stage.

    A stage is missing where the bundle is of a version that did not count, or the stage's file is not the one counted.

    Raises:
        BundleError: the file is damaged or of another version.
    """
    if WORK_NAME not in bundle.manifest.files:
        return {}
    hashes = {name: bundle.manifest.files[stage.graph].sha256 for name, stage in bundle.manifest.stages.items()}
    try:
        data = json.loads(bytes(bundle.open_verified(WORK_NAME)))
        if data["schema_version"] != _SCHEMA:
            raise ValueError(f"schema version {data['schema_version']!r}, this vpp-edge reads {_SCHEMA}")
        kept = {name: stage for name, stage in data["stages"].items() if stage["graph_sha256"] == hashes.get(name)}
        return {name: graph_from_json(stage) for name, stage in kept.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BundleError(
            f"{bundle.path / WORK_NAME}: not readable as the work of its stages ({type(error).__name__}: {error}). "
            "Export the bundle again."
        ) from error
