"""The commands of a robot, in a process that has neither PyTorch nor onnx nor what comes with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cpu_time import HANGS_S

from vpp_edge.cli.main import main
from vpp_edge.installing import pip_install

pytestmark = pytest.mark.live

ABSENT = ("torch", "diffusers", "transformers", "safetensors", "omegaconf", "onnx", "onnx_ir", "onnxscript", "triton")
# Every process imports this first, those that a run starts too. `EXPORTED` is what a wheel of `make wheel` brings.
BLOCKER = """
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
if {exported!r}:
    import vpp_edge.demo.shipped
    vpp_edge.demo.shipped.EXPORTED = Path({exported!r})
"""


class Robot:
    """Runs commands where these libraries are absent.

    Args:
        folder: for the module that blocks them.
        exported: the demo bundle of the package; None: it has none.
    """

    def __init__(self, folder: Path, exported: Path | None) -> None:
        self.folder = folder
        (folder / "blocker.py").write_text(BLOCKER.format(absent=ABSENT, exported=str(exported or "")))

    def run(self, *words: object) -> tuple[int, str, str]:
        code = (
            f"import sys; sys.path.insert(0, {str(self.folder)!r}); import blocker; from vpp_edge.cli.main import main"
        )
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; sys.exit(main(sys.argv[1:]))", *map(str, words)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=HANGS_S,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def robot(small_bundle: Path, tmp_path: Path) -> Robot:
    return Robot(tmp_path, small_bundle)


def test_the_libraries_are_absent(robot: Robot, small_bundle: Path) -> None:
    status, _, err = robot.run("profile", small_bundle, "--compare", "torch")
    assert status == 2 and "torch" in err and "which is not installed here" in err


@pytest.mark.parametrize("words", [(), ("--json",), ("--kernel", "geglu", "--case", "small")])
def test_kernels_list(capsys: pytest.CaptureFixture[str], robot: Robot, words: tuple[str, ...]) -> None:
    status, out, _ = robot.run("kernels", "list", *words)
    assert main(["kernels", "list", *words]) == 0
    assert (status, out) == (0, capsys.readouterr().out)


@pytest.mark.parametrize("words", [("--json",), ("--precision", "int8")])
def test_roofline(capsys: pytest.CaptureFixture[str], robot: Robot, small_bundle: Path, words: tuple[str, ...]) -> None:
    status, out, _ = robot.run("profile", small_bundle, "--roofline", "orin-agx-64gb", *words)
    assert main(["profile", str(small_bundle), "--roofline", "orin-agx-64gb", *words]) == 0
    assert (status, out) == (0, capsys.readouterr().out)


def test_eval_demo(robot: Robot, small_bundle: Path) -> None:
    words = ("--episodes", 1, "--time-limit", 0.3, "--processes", 1, "--json")
    status, out, err = robot.run("eval", "demo", *words)
    assert status == 0, err
    assert json.loads(out)["episodes"] == 1 and f"Using the bundle of this package, {small_bundle}" in err


@pytest.mark.slow
def test_a_live_run_of_the_demo(robot: Robot) -> None:
    """An untrained policy is soon stopped by a guard: a failed run, with a policy that acted and a video of it."""
    status, out, err = robot.run("demo", "--episodes", 1, "--json")
    report = json.loads(out)
    assert status == report["exit_status"] and report["bundle"], err
    assert report["policy"]["inferences"] > 0
    assert (robot.folder / "demo-output" / "demo.mp4").stat().st_size > 1000


@pytest.mark.parametrize("command", [("eval", "demo"), ("demo",), ("chaos", "demo")])
def test_a_wheel_without_the_bundle_says_how_to_get_it(tmp_path: Path, command: tuple[str, ...]) -> None:
    status, out, err = Robot(tmp_path, None).run(*command)
    assert (status, out) == (2, "")
    assert "a wheel of `make wheel`" in err and pip_install("export") in err


@pytest.mark.parametrize(
    "words", [("eval", "demo", "--precision", "int8"), ("eval", "demo", "--steps", 2), ("demo", "--fresh")]
)
def test_other_options_are_exported_elsewhere(robot: Robot, words: tuple[object, ...]) -> None:
    status, _, err = robot.run(*words)
    assert status == 2 and "exporting the demo policy with these options needs torch" in err


def test_a_folder_that_cannot_be_made(robot: Robot) -> None:
    (robot.folder / "file").touch()
    status, _, err = robot.run("demo", "-o", robot.folder / "file" / "videos")
    assert status == 2 and "no folder for the video" in err
