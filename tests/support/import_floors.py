"""The import floors as a checker: in, the root of a source tree; out, one line for every import that runs upward.

Everything an `import` statement can name is read with `ast`, in functions too, so nothing has to be importable. Imports
under `if TYPE_CHECKING:` are left out: they are gone when the code runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
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
    "vpp_edge.profile": ("vpp_edge/profile", None),
    "vpp_edge.verification": ("vpp_edge/verification", None),
    "vpp_edge.doctor": ("vpp_edge/doctor", None),
    "vpp_edge.workflow": ("vpp_edge/workflow", None),
    "vpp_edge.demo": ("vpp_edge/demo", None),
    "vpp_edge.cli": ("vpp_edge/cli", None),
}
TRAINING_LIBRARIES = ("torch", "diffusers", "transformers")
BARE_NAMES = ("calibration", "export", "kernels", "runtime")
# The one stated exception: `from vpp_edge import EdgePolicy`, resolved when it is asked for.
EXCEPTIONS = {("vpp_edge", "vpp_edge.runtime.policy.edge_policy")}


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
    problems = [f"{found}: {reason}" for found in imports if (reason := _reason(found))]
    return sorted(problems + _runtime_reaches_training(imports, modules))


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
    for node in _running_nodes(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in modules or name in FLOORS else base for name in names]
        elif isinstance(node, ast.Call) and _is_import_call(node):
            targets = [node.args[0].value]  # type: ignore[attr-defined]
        for target in dict.fromkeys(targets):
            yield Import(module, target, path.relative_to(root), node.lineno)


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
