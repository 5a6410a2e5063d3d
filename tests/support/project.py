"""The project as its own files describe it: in, the repository; out, declared requirements and what is imported."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# Import name of a distribution, where it is not its name.
MODULES = {
    "cuda-bindings": "cuda",
    "libusb-package": "libusb_package",
    "pyserial": "serial",
    "pyyaml": "yaml",
    "rerun-sdk": "rerun",
}


def pins(python: str, *extras: str) -> dict[str, str]:
    """Version by distribution of what vpp-edge requires on a Python such as `3.12`, with extras and those they name."""
    wanted, found = {"", *extras}, {}
    for _ in range(2):
        for requirement in map(Requirement, requires("vpp-edge") or ()):
            marker = requirement.marker
            if marker and not any(marker.evaluate({"python_version": python, "extra": extra}) for extra in wanted):
                continue
            if requirement.name == "vpp-edge":
                wanted |= requirement.extras
            else:
                found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return found


def declared_modules(*extras: str) -> set[str]:
    """Import names of what vpp-edge requires on any Python that it supports."""
    names = {name for minor in range(10, 14) for name in pins(f"3.{minor}", *extras)}
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def imported_modules(folder: Path) -> dict[str, Path]:
    """Top-level names of other people's packages that the files under `folder` import, each with one such file."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                found.setdefault(name.partition(".")[0], path)
    return {n: p for n, p in found.items() if n not in sys.stdlib_module_names and n not in ("vpp_edge", "__future__")}


def shell_lines(document: Path, program: str) -> list[list[str]]:
    """The commands of a document's shell blocks that start with `program`, as words without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words for words in lines if words[:1] == [program]]
