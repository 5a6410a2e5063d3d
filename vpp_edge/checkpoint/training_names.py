"""Strip what training tools put into the names of a state dict: in, tensors; out, tensors and what was stripped.

`torch.nn.DataParallel` puts `module.` before every name, `torch.compile` `_orig_mod.`, FSDP `_fsdp_wrapped_module.` at
any depth, Lightning the attribute that holds the model. They wrap the same weights, so the names without them decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from vpp_edge.errors import CheckpointError

T = TypeVar("T")

WRAPPERS = frozenset(
    (
        "module",  # DataParallel, DistributedDataParallel, DeepSpeed, AveragedModel
        "_orig_mod",  # torch.compile
        "_fsdp_wrapped_module",
        "_fpw_module",  # FSDP of torch 1
        "_checkpoint_wrapped_module",  # activation checkpointing
        "_forward_module",  # Lightning Fabric
    )
)
_COUNTERS = ("n_averaged",)  # of torch's AveragedModel, no weight


class Unwrapped(NamedTuple, Generic[T]):
    """Tensors under the names of the model, and what was taken from the names, such as `module.`"""

    tensors: dict[str, T]
    stripped: tuple[str, ...]

    def note(self, file: Path | str) -> tuple[str, ...]:
        """One sentence for the user; none where nothing was stripped."""
        if not self.stripped:
            return ()
        return (f"{file}: {' and '.join(f'`{s}`' for s in self.stripped)} was taken from the names of the weights",)


def unwrapped(tensors: Mapping[str, T], anchors: Sequence[str], where: Path | str) -> Unwrapped[T]:
    """The tensors without wrappers in their names.

    Args:
        anchors: names that the model must have; what stands before one of them, and before nothing else, is a wrapper.
        where: file that the tensors were read from, for the error.

    Raises:
        CheckpointError: two tensors would get the same name.
    """
    if any(anchor in tensors for anchor in anchors) and not _wrappers(tensors):
        return Unwrapped(dict(tensors), ())
    found = _wrappers(tensors)
    names = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in tensors}
    prefix = _prefix(list(names.values()), anchors)
    if prefix:
        names = {name: short.removeprefix(prefix) for name, short in names.items()}
        found = [*found, prefix]
    if not found:
        return Unwrapped(dict(tensors), ())
    result: dict[str, T] = {}
    for name, short in names.items():
        if short in _COUNTERS:
            continue
        if short in result:
            raise CheckpointError(
                f"{where}: holds {short} twice, as {name} and under another prefix. Save the state dict of one model."
            )
        result[short] = tensors[name]
    return Unwrapped(result, tuple(found))


def _wrappers(names: Mapping[str, object]) -> list[str]:
    return sorted({f"{part}." for name in names for part in name.split(".") if part in WRAPPERS})


def _prefix(names: Sequence[str], anchors: Sequence[str]) -> str:
    """What stands before every anchor; empty if an anchor is there without a prefix, or under several."""
    if any(anchor in names for anchor in anchors):
        return ""
    prefixes = {name[: -len(anchor)] for name in names for anchor in anchors if name.endswith(f".{anchor}")}
    return prefixes.pop() if len(prefixes) == 1 else ""
