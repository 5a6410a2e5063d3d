"""The imports of this tree stay on their floors and in their rooms, and a planted one that does not is reported."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import import_floors
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_this_tree_imports_nothing_upward() -> None:
    violations = import_floors.find_violations(ROOT)
    assert not violations, "\n".join(violations)


def test_the_checker_sees_every_floor() -> None:
    modules = import_floors.modules_of(ROOT)
    assert {"vpp_edge", "vpp_edge.errors", "vpp_edge.cli.main"} <= set(modules)
    assert set(import_floors.FLOORS) <= set(modules)


def test_the_runtime_is_a_few_rooms_of_a_few_modules() -> None:
    entries = [path for path in (ROOT / "runtime").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 11, sorted(path.name for path in entries)
    folders = [path.parent for path in (ROOT / "runtime").rglob("*.py")]
    crowded = {str(folder.relative_to(ROOT)): folders.count(folder) for folder in folders if folders.count(folder) > 16}
    assert not crowded
    assert {path.stem for path in entries} - {"__init__"} == set(import_floors.ROOMS)


LIGHT = {"__future__", "collections", "typing"}


@pytest.mark.parametrize("path", sorted((ROOT / "runtime").rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_importing_a_room_loads_none_of_its_modules(path: Path) -> None:
    """The control process must not load an engine, nor `--help` numpy, because a neighbour was imported."""
    loaded = {
        name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        + ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
    }
    assert loaded <= LIGHT


def test_architecture_lists_the_rooms_in_the_order_of_their_imports() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## Rooms of the runtime")[2].partition("\n## ")[0]
    rooms = [
        name.strip("`/").removesuffix(".py") for name in re.findall(r"^\| \d+ \| (`[\w./]+`)", section, re.MULTILINE)
    ]
    assert tuple(rooms) == import_floors.ROOMS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of our sources, to plant things in."""
    for folder in ("vpp_edge", "kernels", "export", "runtime", "calibration"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


PLANTED = {
    "floor 0 imports the runtime": ("vpp_edge/planted.py", "from vpp_edge.runtime import interfaces"),
    "floor 0 imports a floor by name": ("vpp_edge/planted.py", "from vpp_edge import model"),
    "floor 0 imports torch": ("vpp_edge/planted.py", "import torch"),
    "checkpoint imports the model": ("vpp_edge/checkpoint/planted.py", "import vpp_edge.model"),
    "kernels import the model": ("kernels/planted.py", "from vpp_edge.model import policy"),
    "the model imports the export": ("vpp_edge/model/planted.py", "import vpp_edge.export.distill"),
    "the export imports the runtime": ("export/planted.py", "from vpp_edge.runtime import interfaces"),
    "the export imports the calibration": ("export/distill/planted.py", "import vpp_edge.calibration"),
    "the calibration imports the export": ("calibration/planted.py", "import vpp_edge.export"),
    "the runtime imports the model": ("runtime/planted.py", "from vpp_edge.model.policy import anything"),
    "the runtime imports torch": ("runtime/planted.py", "from torch import nn"),
    "the runtime imports transformers in a function": ("runtime/planted.py", "def f():\n    import transformers.utils"),
    "the runtime imports torch by a call": ("runtime/planted.py", "import importlib\nimportlib.import_module('torch')"),
    "the runtime imports a command": ("runtime/planted.py", "from vpp_edge.cli.main import main"),
    "ipc imports the control loop": ("runtime/ipc/planted.py", "from vpp_edge.runtime.control import loop"),
    "control imports the policy": ("runtime/control/planted.py", "from vpp_edge.runtime.policy import inference"),
    "the simulator imports a driver": ("runtime/sim/planted.py", "def f():\n    import vpp_edge.runtime.hands.leap"),
    "the nouns import a room": ("runtime/interfaces.py", "from vpp_edge.runtime.ipc import channels as planted"),
    "a module beside the rooms": ("runtime/planted.py", "from vpp_edge.runtime.ipc import channels"),
    "two folders import each other": ("vpp_edge/errors.py", "from vpp_edge.bundle import manifest as planted"),
    "a circle of three folders": ("runtime/policy/engines/planted.py", "from vpp_edge.runtime.policy import targets"),
    "a relative import runs upward": ("runtime/planted.py", "from ..model import policy"),
    "a bare name": ("vpp_edge/cli/planted.py", "from kernels import anything"),
    "a bare module": ("vpp_edge/cli/planted.py", "import runtime.interfaces"),
    "the else of TYPE_CHECKING": (
        "runtime/planted.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import torch",
    ),
}


@pytest.mark.parametrize(("path", "source"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_import_is_reported(tree: Path, path: str, source: str) -> None:
    file = tree / path
    already = file.read_text(encoding="utf-8") if file.exists() else ""
    file.write_text(f"{already}\n{source}\n", encoding="utf-8")
    violations = import_floors.find_violations(tree)
    assert any(file.name in v for v in violations), violations
    others = [v for v in violations if not v.startswith("folders import each other")]
    assert all(file.name in v or "planted" in v for v in others), others


def test_torch_behind_a_kernel_is_reported_when_the_runtime_imports_it(tree: Path) -> None:
    (tree / "kernels/planted.py").write_text("import torch\n", encoding="utf-8")
    assert not [v for v in import_floors.find_violations(tree) if "planted" in v]
    (tree / "runtime/planted.py").write_text("from vpp_edge.kernels import planted\n", encoding="utf-8")
    violations = [v for v in import_floors.find_violations(tree) if "planted" in v]
    assert len(violations) == 1 and "vpp_edge.runtime.planted -> vpp_edge.kernels.planted" in violations[0]


ALLOWED = {
    "the command line may import all": ("vpp_edge/cli/planted.py", "from vpp_edge.export import distill\nimport torch"),
    "the model may import the kernels": ("vpp_edge/model/planted.py", "import vpp_edge.kernels\nimport torch"),
    "the session may import every room below": (
        "runtime/session/planted.py",
        "from vpp_edge.runtime.cameras import views\nfrom vpp_edge.runtime.policy import process",
    ),
    "types may be named": (
        "runtime/planted.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
    ),
    "floor 0 is everybody's": ("runtime/planted.py", "from vpp_edge import EdgePolicy, errors"),
}


@pytest.mark.parametrize(("path", "source"), ALLOWED.values(), ids=ALLOWED.keys())
def test_an_allowed_import_is_not_reported(tree: Path, path: str, source: str) -> None:
    (tree / path).write_text(source + "\n", encoding="utf-8")
    assert not [v for v in import_floors.find_violations(tree) if "planted" in v]
