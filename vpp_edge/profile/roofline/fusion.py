"""Group the nodes of a graph into kernels as an engine would, with the tensors that each kernel reads and writes.

The rules are exactly those of TensorRT's graph optimizations ("Types of Fusions" in its documentation):

- Views are free: the kernels around reshapes, transpositions, slices and concatenations address their data directly.
- A pointwise node joins the kernel that computes its input: bias, activation and residual sum run in the epilogue of a
  product or normalization. It joins only for whole tensors of its own size (half of a product lies in other tiles), and
  only if none of its other inputs depends on that kernel.
- Other pointwise nodes are merged with one another.
- A pointwise node with a single pointwise reader moves to the reader's kernel if its own inputs are in memory anyway.
- Products of queries and keys, softmax, and the product with the values are one kernel; scores stay on the chip.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vpp_edge.bundle.work import CONSTANT, MATRIX, MOVE, PART, POINTWISE, UNKNOWN, VIEW, Graph, Node

CONV, GEMM, ATTENTION, MEMORY = "conv", "gemm", "attention", "memory"
_CONVS = frozenset({"Conv", "ConvInteger", "ConvTranspose"})


@dataclass(frozen=True)
class Group:
    """Nodes that run as one kernel.

    Attributes:
        kind: CONV, GEMM (a product with weights, or one outside of attention), ATTENTION, or MEMORY: everything that is
            limited by memory traffic.
        reads: elements read of every activation from outside, by tensor.
        weights: elements read of every constant, by tensor.
        writes: elements of every tensor that a later kernel or the caller reads, by tensor.
    """

    nodes: tuple[Node, ...]
    kind: str
    reads: Mapping[str, int]
    weights: Mapping[str, int]
    writes: Mapping[str, int]

    @property
    def matrix_operations(self) -> int:
        return sum(n.matrix_operations for n in self.nodes)

    @property
    def vector_operations(self) -> int:
        return sum(n.vector_operations for n in self.nodes)


@dataclass(frozen=True)
class Source:
    """The tensors in memory that a view refers to, and whether it is one of them as a whole."""

    tensors: tuple[str, ...]
    whole: bool


def groups_from_graph(graph: Graph) -> tuple[Group, ...]:
    """The kernels of a graph, in order of their last product or first node."""
    return _Fusion(graph).groups()


class _Fusion:
    """The state of the grouping: the group of every node, and the nodes of every group."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.sources = sources_of(graph)
        self.work = [n for n in graph.nodes if n.kind not in (CONSTANT, VIEW, PART)]
        self.maker = {name: n for n in self.work for name in n.outputs}
        self.readers: dict[str, list[Node]] = defaultdict(list)
        for node in self.work:
            for name in {s for i in node.inputs for s in self._behind(i)}:
                self.readers[name].append(node)
        self.kept = {s for name in graph.outputs for s in self._behind(name)}
        self.ancestors = self._ancestors()
        self.group_of: dict[int, int] = {}
        self.members: dict[int, list[Node]] = {}
        self.attention: set[int] = set()

    def groups(self) -> tuple[Group, ...]:
        for node in self.work:
            group = self._to_join(node) if node.kind == POINTWISE else None
            self._put(node, node.index if group is None else group)
            if node.kind == MATRIX:
                self._fuse_attention(node)
        for node in reversed(self.work):
            self._sink(node)
        return tuple(self._group(head, nodes) for head, nodes in sorted(self.members.items()) if nodes)

    def _behind(self, name: str) -> tuple[str, ...]:
        return self.sources[name].tensors if name in self.sources else ((name,) if name else ())

    def _ancestors(self) -> dict[int, int]:
        """All nodes that a node depends on, as a bit set over node indices."""
        found: dict[int, int] = {}
        for node in self.work:
            makers = {self.maker[s].index for i in node.inputs for s in self._behind(i) if s in self.maker}
            bits = 0
            for index in makers:
                bits |= found[index] | 1 << index
            found[node.index] = bits
        return found

    def _put(self, node: Node, head: int) -> None:
        self.group_of[node.index] = head
        self.members.setdefault(head, []).append(node)

    def _to_join(self, node: Node) -> int | None:
        """The latest kernel into whose epilogue a pointwise node fits."""
        size = self.graph.tensors[node.outputs[0]].elements
        makers = {self.maker[s] for i in node.inputs for s in self._behind(i) if s in self.maker}
        fitting = set()
        for name in node.inputs:
            source = self.sources.get(name, Source((name,), True))
            if source.whole and source.tensors[0] in self.maker and self.graph.tensors[name].elements == size:
                fitting.add(self.group_of[self.maker[source.tensors[0]].index])
        for head in sorted(fitting, reverse=True):
            inside = sum(1 << n.index for n in self.members[head])
            waits = any(self.ancestors[m.index] & inside for m in makers if self.group_of[m.index] != head)
            if not waits and all(n.kind != UNKNOWN for n in self.members[head]):
                return head
        return None

    def _fuse_attention(self, product: Node) -> None:
        """Joins Q K^T, softmax and the product with V if nothing else reads the scores."""
        source = self.sources.get(product.inputs[0], Source((product.inputs[0],), True))
        if product.op == "Attention":
            self.attention.add(product.index)
            self._absorb_scalings(product.index)
            return
        if not source.whole or source.tensors[0] not in self.maker or self._weighted(product):
            return
        softmax = self.group_of[self.maker[source.tensors[0]].index]
        if not any(n.op == "Softmax" for n in self.members[softmax]) or not self._read_only_by(softmax, product.index):
            return
        first = next(n for n in self.members[softmax] if n.op == "Softmax")
        behind = self._behind(first.inputs[0])
        if len(behind) != 1 or behind[0] not in self.maker:
            return
        scores = self.group_of[self.maker[behind[0]].index]
        products = [n for n in self.members[scores] if n.kind == MATRIX]
        if len(products) != 1 or self._weighted(products[0]) or not self._read_only_by(scores, softmax):
            return
        for head in (scores, softmax):
            self._merge(head, product.index)
        self.attention.add(product.index)
        self._absorb_scalings(product.index)

    def _absorb_scalings(self, head: int) -> None:
        """Merges pointwise kernels that only prepare queries, keys or the mask of this attention."""
        made = {self.maker[s] for n in self.members[head] for i in n.inputs for s in self._behind(i) if s in self.maker}
        for group in {self.group_of[n.index] for n in made} - {head}:
            if all(n.kind == POINTWISE for n in self.members[group]) and self._read_only_by(group, head):
                self._merge(group, head)

    def _weighted(self, node: Node) -> bool:
        return any(name in self.graph.constants for name in node.inputs[:2])

    def _read_only_by(self, group: int, head: int) -> bool:
        """Whether the outputs of a group are read only by itself and by the group `head`."""
        for name in (o for n in self.members[group] for o in n.outputs):
            if name in self.kept:
                return False
            if any(self.group_of.get(n.index, n.index) not in (group, head) for n in self.readers[name]):
                return False
        return True

    def _merge(self, group: int, into: int) -> None:
        for node in self.members.pop(group):
            self._put(node, into)

    def _sink(self, node: Node) -> None:
        """Moves a pointwise node to the kernel of its only reader if its inputs from this kernel are written anyway."""
        group = self.group_of[node.index]
        if node.kind != POINTWISE or node.outputs[0] in self.kept or len(self.readers[node.outputs[0]]) != 1:
            return
        reader = self.readers[node.outputs[0]][0]
        target = self.group_of[reader.index]
        if reader.kind != POINTWISE or target == group:
            return
        for name in {s for i in node.inputs for s in self._behind(i)}:
            inside = name in self.maker and self.group_of[self.maker[name].index] == group
            others = any(self.group_of[n.index] != group for n in self.readers[name])
            if inside and name not in self.kept and not others:
                return
        self.members[group].remove(node)
        self._put(node, target)

    def _group(self, head: int, nodes: list[Node]) -> Group:
        tensors = self.graph.tensors
        made = {o for n in nodes for o in n.outputs}
        reads: dict[str, int] = defaultdict(int)
        weights: dict[str, int] = {}
        for node in nodes:
            most = tensors[node.outputs[0]].elements if node.kind == MOVE else None
            for name in dict.fromkeys(i for i in node.inputs if i):
                # A copy reads as much as it writes: only the selected rows of an embedding table.
                elements = tensors[name].elements if name in tensors else 0
                elements = elements if most is None else min(elements, most)
                for source in self._behind(name):
                    if source in self.graph.constants:
                        weights[source] = max(weights.get(source, 0), elements)
                    elif source not in made:
                        reads[source] = min(reads[source] + elements, tensors[source].elements)
        members = {n.index for n in nodes}
        writes = {
            o: tensors[o].elements
            for n in nodes
            for o in n.outputs
            if o in self.kept or any(r.index not in members for r in self.readers[o])
        }
        nodes = sorted(nodes, key=lambda n: n.index)
        return Group(
            nodes=tuple(nodes), kind=self._kind(head, nodes), reads=dict(reads), weights=weights, writes=writes
        )

    def _kind(self, head: int, nodes: Iterable[Node]) -> str:
        if head in self.attention:
            return ATTENTION
        products = [n for n in nodes if n.kind == MATRIX]
        if not products:
            return MEMORY
        return CONV if products[0].op in _CONVS else GEMM


def sources_of(graph: Graph) -> dict[str, Source]:
    """For every output of a view: the tensors in memory that it refers to, including constants."""
    sources: dict[str, Source] = {}
    for node in graph.nodes:
        if node.kind not in (VIEW, PART):
            continue
        shown = node.inputs if node.op == "Concat" else node.inputs[:1]
        behind = [sources.get(name, Source((name,), True)) for name in shown]
        tensors = tuple(dict.fromkeys(t for b in behind for t in b.tensors))
        whole = node.kind == VIEW and len(behind) == 1 and behind[0].whole
        for name in node.outputs:
            sources[name] = Source(tensors, whole)
    return sources
