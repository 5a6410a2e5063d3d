"""Name the kernels of a graph: the layer and the part of the policy that each belongs to.

Exported nodes are named after operators, but parameters keep the path of their module, as in
`video.unet.down_blocks.0.resnets.0.conv1.weight`. A kernel takes the path of its first such parameter; one without
(weights that the exporter transposed, attention) takes the common part of the paths of the named kernels before and
after it, because the exporter keeps the order of the program.

Exporters merge parameters of equal content, such as the biases of a policy that was never trained, under the name of
the first. A vector that is read by more kernels than any matrix is such a merged parameter and is not used for naming.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

from vpp_edge.bundle.work import CONSTANT, VIEW, Graph
from vpp_edge.profile.roofline.fusion import Group

# Parts of perceive, by words in the path of a module; paths without them belong to the UNet.
_PERCEIVE = {"former": "Video Former", "vae": "VAE encoder", "encoder": "VAE encoder"}
# Elsewhere a part ends at the first module whose name has one of these words, as in `head.decoder`.
_ENDS = ("encoder", "decoder")

Path = tuple[str, ...]


def layer_names(graph: Graph, groups: Sequence[Group]) -> tuple[str, ...]:
    """The path of the module of every kernel, dots between its names; "" for one outside of all modules."""
    origins = _origins(graph)
    readers = Counter(name for group in groups for name in {origins.get(w, w) for w in group.weights})
    times_run = max((readers[name] for name in readers if len(graph.tensors[name].shape) > 1), default=1)
    merged = {name for name, count in readers.items() if count > times_run}
    paths = [next(_paths(group, origins, merged), None) for group in groups]
    before = _filled(paths)
    after = _filled(paths[::-1])[::-1]
    return tuple(
        ".".join(path if path is not None else _common(b, a)) for path, b, a in zip(paths, before, after, strict=True)
    )


def part_of(stage: str, layer: str) -> str:
    """The part of the policy that a layer lies in: `UNet`, `VAE encoder`, `Video Former`; elsewhere `head.decoder`."""
    words = [set(name.split("_")) for name in layer.split(".")]
    if stage == "perceive":
        found = (part for name in words for word, part in _PERCEIVE.items() if word in name)
        return "UNet" if "unet" in set().union(*words) else next(found, "UNet")
    end = next((i for i, name in enumerate(words) if name.intersection(_ENDS)), 0)
    return ".".join(layer.split(".")[: end + 1])


def _origins(graph: Graph) -> dict[str, str]:
    """For every constant computed from one parameter, such as its transpose: the parameter."""
    origins: dict[str, str] = {}
    for node in graph.nodes:
        if node.kind in (CONSTANT, VIEW) and node.inputs and node.inputs[0] in graph.constants:
            origins.update((name, origins.get(node.inputs[0], node.inputs[0])) for name in node.outputs)
    return origins


def _paths(group: Group, origins: dict[str, str], merged: set[str]) -> Iterator[Path]:
    """The paths of a kernel's parameters, those of its products first."""
    for node in sorted(group.nodes, key=lambda n: (n.matrix_operations == 0, n.index)):
        for name in (origins.get(i, i) for i in node.inputs if i in group.weights):
            if "." in name and name not in merged:
                yield tuple(name.split(".")[:-1])
        if "/" in node.name:
            yield tuple(node.name.strip("/").split("/")[:-1])


def _filled(paths: Sequence[Path | None]) -> list[Path | None]:
    """Every path, with missing ones replaced by the last one before."""
    last: Path | None = None
    filled = []
    for path in paths:
        last = last if path is None else path
        filled.append(last)
    return filled


def _common(before: Path | None, after: Path | None) -> Path:
    if before is None or after is None:
        return (before or after or ())[:1]
    return tuple(b for b, _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
