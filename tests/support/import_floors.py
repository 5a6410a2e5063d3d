"""Checks the imports of a source tree: one line for every import that runs upward or closes a circle of folders.

Everything an `import` statement can name is read with `ast`, in functions too, so nothing has to be importable. Imports
under `if TYPE_CHECKING:` are left out: they are gone when the code runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Package of a floor: (folder, number, packages besides floor 0 and itself that it may import).
FLOOR_2 = ("vpp_edge.checkpoint", "vpp_edge.kernels", "vpp_edge.model")
FLOORS = {
    "vpp_edge.checkpoint": ("vpp_edge/checkpoint", ()),
    "vpp_edge.kernels": ("kernels", ()),
    "vpp_edge.model": ("vpp_edge/model", ("vpp_edge.checkpoint", "vpp_edge.kernels")),
    "vpp_edge.calibration": ("calibration", FLOOR_2),
    "vpp_edge.export": ("export", FLOOR_2),
    "vpp_edge.runtime": ("runtime", ("vpp_edge.kernels",)),
    "vpp_edge.executor": ("vpp_edge/executor", ("vpp_edge.runtime",)),
    "vpp_edge.profile": ("vpp_edge/profile", None),
    "vpp_edge.verification": ("vpp_edge/verification", None),
    "vpp_edge.doctor": ("vpp_edge/doctor", None),
    "vpp_edge.workflow": ("vpp_edge/workflow", None),
    "vpp_edge.demo": ("vpp_edge/demo", None),
    "vpp_edge.cli": ("vpp_edge/cli", None),
}
# The rooms of the runtime, lowest first: a room imports only from itself and those before it.
ROOMS = (
    "interfaces",
    "ipc",
    "control",
    "policy",
    "sim",
    "cameras",
    "hands",
    "telemetry",
    "session",
    "chaos",
)
TRAINING_LIBRARIES = ("torch", "diffusers", "transformers")
BARE_NAMES = ("calibration", "export", "kernels", "runtime")
# The stated exceptions: `from vpp_edge import EdgePolicy`, resolved when it is asked for, and what
# `accelerate launch -m vpp_edge.export.distill` starts, which nothing imports.
EXCEPTIONS = {
    ("vpp_edge", "vpp_edge.runtime.policy.edge_policy"),
    ("vpp_edge.export.distill.__main__", "vpp_edge.cli.main"),
}


@dataclass(frozen=True)
class Import:
    """One import of `target` by `module`, at `path`:`line`."""

    module: str
    target: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.module} imports {self.target}"


def find_violations(root: Path) -> list[str]:
    """Every import of the tree at `root` that the floors forbid, as `path:line: module imports target: reason`."""
    modules = modules_of(root)
    imports = [found for module, path in modules.items() for found in imports_of(module, path, root, modules)]
    problems = [f"{found}: {reason}" for found in imports if (reason := _reason(found) or _room_reason(found))]
    return sorted(problems + _runtime_reaches_training(imports, modules) + find_folder_circles(imports, modules))


def find_folder_circles(imports: list[Import], modules: dict[str, Path]) -> list[str]:
    """Every circle in which folders import each other, as the imports that close it, shortest circles only."""
    edges: dict[str, dict[str, Import]] = {}
    for found in imports:
        target = _module_of(found.target, modules)
        if target is None or (found.module, found.target) in EXCEPTIONS:
            continue
        here, there = _folder_of(found.module, modules), _folder_of(target, modules)
        if here != there:
            edges.setdefault(here, {}).setdefault(there, found)
    problems = []
    for start in sorted(edges):
        path = _shortest_way(start, start, edges)
        if path is not None and start == min(path):  # each circle once, from its first folder
            closing = ", ".join(str(edges[a][b]) for a, b in zip(path, [*path[1:], start], strict=True))
            problems.append(f"folders import each other: {' -> '.join([*path, start])} ({closing})")
    return problems


def _shortest_way(start: str, goal: str, edges: dict[str, dict[str, Import]]) -> list[str] | None:
    """The folders from `start` on the shortest way that ends with an edge to `goal`, or None."""
    ways, seen = [[start]], {start}
    for way in ways:
        for folder in sorted(edges.get(way[-1], {})):
            if folder == goal:
                return way
            if folder not in seen:
                seen.add(folder)
                ways.append([*way, folder])
    return None


def _module_of(target: str, modules: dict[str, Path]) -> str | None:
    """The module of ours that an import of `target` runs; None for other people's."""
    while target and target not in modules:
        target = target.rpartition(".")[0]
    return target or None


def _folder_of(module: str, modules: dict[str, Path]) -> str:
    return module if modules[module].name == "__init__.py" else module.rpartition(".")[0]


def modules_of(root: Path) -> dict[str, Path]:
    """Dotted name of every module of ours, and its file."""
    folders = {"vpp_edge": root / "vpp_edge"} | {package: root / folder for package, (folder, _) in FLOORS.items()}
    modules: dict[str, Path] = {}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            relative = path.relative_to(folder).with_suffix("")
            parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
            modules[".".join((package, *parts))] = path
    return modules


def imports_of(module: str, path: Path, root: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """The imports of one file. `from package import name` names `package.name` when that is a module of ours."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for level, base, names, line in _statements(path.read_text(encoding="utf-8")):
        if level:
            parents = package.split(".")[: len(package.split(".")) - level + 1]
            base = ".".join([*parents, *([base] if base else [])])
        targets = [f"{base}.{name}" for name in names] or [base]
        targets = [name if not names or name in modules or name in FLOORS else base for name in targets]
        for target in dict.fromkeys(targets):
            yield Import(module, target, path.relative_to(root), line)


@cache  # the tests read the same tree again and again, with one file changed
def _statements(source: str) -> list[tuple[int, str, tuple[str, ...], int]]:
    """Level, module, imported names (none for `import module`) and line of everything that a source imports."""
    found: list[tuple[int, str, tuple[str, ...], int]] = []
    for node in _running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, (), node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", tuple(alias.name for alias in node.names), node.lineno))
        elif isinstance(node, ast.Call) and _is_import_call(node):
            found.append((0, node.args[0].value, (), node.lineno))  # type: ignore[attr-defined]
    return found


def _running_nodes(tree: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """All nodes but those of `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in child.orelse:
                yield statement
                yield from _running_nodes(statement)
            continue
        if isinstance(child, ast.stmt | ast.expr):
            yield child
        yield from _running_nodes(child)


def _is_import_call(node: ast.Call) -> bool:
    called = ast.unparse(node.func)
    named = bool(node.args) and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return named and called in ("importlib.import_module", "import_module", "__import__")


def _package_of(module: str) -> str:
    """The floor package that a module of ours is in; `vpp_edge` for floor 0."""
    return next((p for p in FLOORS if module == p or module.startswith(f"{p}.")), "vpp_edge")


def _reason(found: Import) -> str | None:
    """Why an import is forbidden; None when it is not."""
    top = found.target.partition(".")[0]
    source = _package_of(found.module)
    if top in BARE_NAMES:
        return f"the bare name is another package's; import vpp_edge.{found.target}"
    if top in TRAINING_LIBRARIES and source in ("vpp_edge", "vpp_edge.runtime"):
        return f"{source} runs on the robot, where there is no {top}"
    if top != "vpp_edge" or (found.module, found.target) in EXCEPTIONS:
        return None
    target = _package_of(found.target)
    if target in (source, "vpp_edge"):
        return None
    if source == "vpp_edge":
        return "floor 0 imports nothing of ours above it"
    allowed = FLOORS[source][1]
    if allowed is None or target in allowed:
        return None
    return f"{source} may import only floor 0" + "".join(f", {name}" for name in allowed)


def _room_of(module: str) -> str | None:
    """The room of a module of the runtime; None for everything else."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["vpp_edge", "runtime"] and len(parts) > 2 else None


def _room_reason(found: Import) -> str | None:
    """Why an import between two rooms of the runtime is forbidden; None when it is not."""
    source, target = _room_of(found.module), _room_of(found.target)
    if source is None or target is None or source == target:
        return None
    for room in (source, target):
        if room not in ROOMS:
            return f"runtime/{room} is no room; put the module into one of {', '.join(ROOMS)}"
    if ROOMS.index(target) < ROOMS.index(source):
        return None
    return f"runtime/{source} is below runtime/{target}; it may import only {', '.join(ROOMS[: ROOMS.index(source)])}"


def _runtime_reaches_training(imports: list[Import], modules: dict[str, Path]) -> list[str]:
    """Chains by which a module of the runtime reaches a training library through modules of ours."""
    by_module: dict[str, list[Import]] = {}
    for found in imports:
        by_module.setdefault(found.module, []).append(found)
    problems = []
    for start in (m for m in modules if _package_of(m) == "vpp_edge.runtime"):
        chains: list[list[str]] = [[start]]
        seen = {start}
        while chains:
            chain = chains.pop()
            for found in by_module.get(chain[-1], []):
                if found.target.partition(".")[0] in TRAINING_LIBRARIES and len(chain) > 1:
                    problems.append(f"{found}: reached from the runtime by {' -> '.join(chain)}")
                for target in _with_parents(found.target):
                    if target in modules and target not in seen and (found.module, target) not in EXCEPTIONS:
                        seen.add(target)
                        chains.append([*chain, target])
    return problems


def _with_parents(target: str) -> list[str]:
    """Importing `a.b.c` runs `a`, `a.b` and `a.b.c`."""
    parts = target.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]
