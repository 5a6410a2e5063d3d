"""The wheel has every floor and no tests, the requirements are what is imported, and the README's commands exist."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cpu_time import HANGS_S
from import_floors import FLOORS
from packaging.utils import canonicalize_name
from project import ROOT, declared_modules, imported_modules, pins, shell_lines

from vpp_edge.cli.main import COMMANDS, build_parser
from vpp_edge.demo.shipped import EXPORTED

# Imported where they are found and never installed by us: they come with JetPack, a hand or the user's own choice.
FOUND_ON_THE_MACHINE = {"bitsandbytes", "tensorrt", "tensorrt_rtx_bindings", "xhand_controller"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel that is built from a copy of the sources."""
    return built_wheel(tmp_path_factory.mktemp("wheel"), {})


def built_wheel(folder: Path, variables: dict[str, str]) -> list[str]:
    """Names of the files in a wheel that is built in `folder` with these environment variables."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed here, and this test does not use the network")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "demo-output")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, timeout=HANGS_S, env=os.environ | variables)
    (wheel,) = folder.glob("vpp_edge-*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_has_every_module_of_every_floor(wheel_names: list[str]) -> None:
    folders = {"vpp_edge": "vpp_edge"} | {package: folder for package, (folder, _) in FLOORS.items()}
    expected = {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in folders.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not expected - set(wheel_names)


def test_the_wheel_has_the_demo_policy(wheel_names: list[str]) -> None:
    here = ROOT / "vpp_edge" / "demo_policy"
    files = {f"vpp_edge/{path.relative_to(here.parent).as_posix()}" for path in here.rglob("*") if path.is_file()}
    assert "vpp_edge/demo_policy/policy.safetensors" in files
    assert not files - set(wheel_names)


def test_the_wheel_has_the_table_of_kernels(wheel_names: list[str]) -> None:
    assert "vpp_edge/kernels/traffic.json" in wheel_names


def test_the_wheel_has_the_specifications_of_students(wheel_names: list[str]) -> None:
    folder = ROOT / "export" / "distill" / "students"
    files = {f"vpp_edge/export/distill/students/{path.name}" for path in folder.iterdir()}
    assert "vpp_edge/export/distill/students/demo.yaml" in files
    assert not files - set(wheel_names)


def test_a_wheel_for_robots_has_the_exported_demo(wheel_names: list[str], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "onnx").mkdir(parents=True)
    (bundle / "engines").mkdir()
    for name in ("manifest.json", "onnx/act.onnx", "engines/act.engine"):
        (bundle / name).write_text("x")
    added = set(built_wheel(tmp_path / "wheel", {"VPP_EDGE_DEMO_BUNDLE": str(bundle)})) - set(wheel_names)
    assert added == {"vpp_edge/demo_bundle/manifest.json", "vpp_edge/demo_bundle/onnx/act.onnx"}
    assert EXPORTED.relative_to(EXPORTED.parents[1]).as_posix() == "vpp_edge/demo_bundle"


def test_the_wheel_has_nothing_else(wheel_names: list[str]) -> None:
    roots = {name.partition("/")[0] for name in wheel_names}
    assert all(root == "vpp_edge" or root.endswith(".dist-info") for root in roots), roots
    assert not [name for name in wheel_names if "test" in Path(name).name.split("_")]
    assert [name for name in wheel_names if name.endswith("licenses/LICENSE")]


PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned(python: str) -> None:
    loose = {n: pin for n, pin in pins(python, "cpu", "cuda", "jetson", "dev").items() if not pin.startswith("==")}
    assert not loose


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_agree_with_the_pins(python: str) -> None:
    lines = (ROOT / "constraints" / f"python-{python}.txt").read_text(encoding="utf-8").splitlines()
    locked = {canonicalize_name(name): pin for name, _, pin in (line.partition("==") for line in lines) if pin}
    wanted = {name: pin.removeprefix("==") for name, pin in pins(python, "cpu", "dev").items()}
    assert {name: locked.get(name) for name in wanted} == wanted, "run `make lock`"


def test_everything_that_is_imported_is_required() -> None:
    declared = declared_modules("cpu", "cuda", "jetson", "ray") | FOUND_ON_THE_MACHINE
    for folder in ("vpp_edge", "kernels", "export", "calibration"):
        found = imported_modules(ROOT / folder)
        assert set(found) <= declared, {name: str(found[name]) for name in set(found) - declared}


def test_what_the_runtime_imports_is_in_what_the_robot_installs() -> None:
    declared = declared_modules("jetson", "rerun") | FOUND_ON_THE_MACHINE  # a viewer is for who asks for it
    found = imported_modules(ROOT / "runtime")
    assert set(found) <= declared, {name: str(found[name]) for name in set(found) - declared}
    assert not {"torch", "diffusers", "transformers"} & declared


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_make_targets_of_a_document_exist(document: str) -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {words[1] for words in shell_lines(ROOT / document, "make")}
    assert named and named <= targets


def test_the_readme_has_the_commands_that_exist() -> None:
    lines = shell_lines(ROOT / "README.md", "vpp-edge")
    assert {"export", "run", "profile", "doctor"} <= {words[1] for words in lines}
    assert {words[1] for words in lines} <= set(COMMANDS)
    parser = build_parser({words[1] for words in lines})
    for words in lines:
        parser.parse_args(words[1:])


def test_no_root_conftest_shadows_other_packages() -> None:
    assert not (ROOT / "conftest.py").exists()
    assert str(ROOT) not in sys.path
