"""The training configuration inside `policy.pt`: look up values by path and resolve `${...}` references."""

from __future__ import annotations

import re
from typing import Any

from vpp_edge.checkpoint.bounded import LARGEST_SIZE, real_number, shown, whole_number
from vpp_edge.errors import CheckpointError

_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_INDEX = re.compile(r"[0-9]{1,9}")
_MISSING = object()
_LARGEST_NUMBER = 1e6  # m, rad: far beyond any bound of a robot
_MOST_REFERENCES = 1000  # followed for one value; a real configuration needs a handful


class Arguments:
    """Looks up `a.b.c` and follows OmegaConf interpolations to other keys; resolvers such as `${oc.env:X}` are refused.

    References are resolved where they are read, so an unresolvable one in an unused key does no harm.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._references_left = 0

    def get(self, path: str, default: Any = None) -> Any:
        """The resolved value at `path`, or `default` where the key is absent or None.

        Raises:
            CheckpointError: the value refers to a key that does not exist, to itself, or to a resolver.
        """
        self._references_left = _MOST_REFERENCES
        value = self._resolve(self._lookup(path), path, (path,))
        return default if value is _MISSING or value is None else value

    def integer(self, path: str, default: int | None = None, *, lowest: int = 1, highest: int = LARGEST_SIZE) -> int:
        """The whole number at `path`, within [lowest, highest]; CheckpointError if it is anything else."""
        return whole_number(self.get(path, default), f"policy.pt: args.{path}", lowest, highest)

    def number(self, path: str, default: float | None = None, *, lowest: float, highest: float) -> float:
        """The number at `path`, within [lowest, highest]; CheckpointError if it is anything else."""
        return real_number(self.get(path, default), f"policy.pt: args.{path}", lowest, highest)

    def numbers(self, path: str) -> tuple[float, ...] | None:
        """The list of finite numbers at `path`, or None; CheckpointError if it is anything else."""
        value = self.get(path)
        if value is None:
            return None
        if not isinstance(value, list):
            raise CheckpointError(f"policy.pt: args.{path} is {shown(value)}, expected a list of numbers")
        return tuple(
            real_number(v, f"policy.pt: args.{path}[{i}]", -_LARGEST_NUMBER, _LARGEST_NUMBER)
            for i, v in enumerate(value)
        )

    def text(self, path: str, default: str) -> str:
        """The text at `path`; "" if it is anything else, which names nothing."""
        value = self.get(path, default)
        return value if isinstance(value, str) else ""

    def flag(self, path: str, default: bool) -> bool:
        """The truth value at `path`; CheckpointError for "false" in quotes and what else Python takes for true."""
        value = self.get(path, default)
        if value not in (True, False):  # 0 and 1 are equal to them
            raise CheckpointError(f"policy.pt: args.{path} is {shown(value)}, expected true or false")
        return bool(value)

    def _lookup(self, path: str) -> Any:
        value: Any = self._values
        for key in path.split("."):
            if isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                return _MISSING
        return value

    def _resolve(self, value: Any, path: str, seen: tuple[str, ...]) -> Any:
        if isinstance(value, list):
            return [self._resolve(v, f"{path}.{i}", seen) for i, v in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return self._follow(whole[1], path, seen)
        resolved = _REFERENCE.sub(lambda match: str(self._follow(match[1], path, seen)), value)
        if "${" in resolved:
            raise CheckpointError(f"policy.pt: args.{path} is {value!r}; nested references are not evaluated here")
        return resolved

    def _follow(self, reference: str, path: str, seen: tuple[str, ...]) -> Any:
        self._references_left -= 1
        if self._references_left < 0:
            raise CheckpointError(f"policy.pt: args.{path} refers to more than {_MOST_REFERENCES} other values")
        if ":" in reference:
            raise CheckpointError(
                f"policy.pt: args.{path} uses the resolver ${{{reference}}}, which is not evaluated here"
            )
        relative = len(reference) - len(reference.lstrip("."))
        target = ".".join([*path.split(".")[:-relative], reference[relative:]]) if relative else reference
        if target in seen:
            raise CheckpointError(f"policy.pt: args.{path} refers to itself through ${{{reference}}}")
        found = self._lookup(target)
        if found is _MISSING:
            raise CheckpointError(f"policy.pt: args.{path} refers to ${{{reference}}}, which does not exist")
        return self._resolve(found, target, (*seen, target))
