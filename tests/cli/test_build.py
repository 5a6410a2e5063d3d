"""`vpp-edge build` as it is typed: engines of every stage by TensorRT-RTX on the CPU, the cache, and wrong usage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cpu_time import run_measured
from edited import edit_json

from vpp_edge.cli import main as cli
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES

COMMAND = [str(Path(sys.executable).parent / "vpp-edge"), "build"]
RTX = ["--backend", "tensorrt-rtx", "--sm", "86"]
needs_rtx = pytest.mark.skipif(
    not LIBRARIES["tensorrt-rtx"].is_installed,
    reason="tensorrt_rtx_bindings is not installed: pip install -e '.[tensorrt-rtx]'",
)


@pytest.fixture(scope="module")
def built(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """A copy of the small bundle with its engines, and what the command said on stdout and stderr."""
    bundle = Path(shutil.copytree(small_bundle, tmp_path_factory.mktemp("build") / "bundle"))
    answer = subprocess.run([*COMMAND, str(bundle), *RTX, "--json"], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return bundle, json.loads(answer.stdout), answer.stderr


@needs_rtx
def test_every_stage_is_built(built: tuple[Path, dict, str]) -> None:
    bundle, summary, said = built
    assert [(e["stage"], e["sm"], e["cached"]) for e in summary["engines"]] == [
        (stage, "86", False) for stage in ("text", "perceive", "act")
    ]
    for engine in summary["engines"]:
        assert (bundle / engine["file"]).stat().st_size == engine["bytes"] > 100_000
        assert engine["layers"] > 50 and engine["seconds"] > 0
    assert "build: perceive sm86 (2/3)" in said and " left" in said


@needs_rtx
def test_a_second_call_answers_from_the_cache_without_the_compiler(built: tuple[Path, dict, str]) -> None:
    bundle, summary, _ = built
    code = (
        "import sys; from vpp_edge.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit(9 if 'tensorrt_rtx_bindings' in sys.modules else status)"
    )
    answer, cpu_s = run_measured([sys.executable, "-c", code, "build", str(bundle), *RTX, "--json", "--quiet"])
    assert answer.returncode == 0, answer.stderr
    assert cpu_s < 2
    again = json.loads(answer.stdout)["engines"]
    assert again == [{**engine, "cached": True} for engine in summary["engines"]]
    assert not answer.stderr


@needs_rtx
def test_people_get_a_table(built: tuple[Path, dict, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", str(built[0]), *RTX, "--quiet", "--stage", "act", "text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "tensorrt_rtx_bindings" in lines[0] and len(lines) == 3
    assert lines[1].split()[:4] == ["act", "SM", "86", "fp32"] and lines[1].endswith("from the cache")


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize(("name", "sm"), [("int8_bundle", "86"), ("fp16_bundle", "89")])
def test_lower_precision_is_built_strongly_typed(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, sm: str
) -> None:
    """All three stages; then the same again from the cache, and with a byte changed not at all."""
    bundle = Path(shutil.copytree(request.getfixturevalue(name), tmp_path / "bundle"))
    words = ["build", str(bundle), "--backend", "tensorrt-rtx", "--sm", sm, "--quiet", "--json"]
    assert cli.main(words) == 0
    engines = json.loads(capsys.readouterr().out)["engines"]
    assert [(e["stage"], e["sm"], e["cached"]) for e in engines] == [
        (stage, sm, False) for stage in ("text", "perceive", "act")
    ]
    assert cli.main(words) == 0
    assert all(e["cached"] for e in json.loads(capsys.readouterr().out)["engines"])
    path = bundle / "onnx" / "act.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert cli.main([*words, "--stage", "act"]) == 2
    assert "changed since export" in capsys.readouterr().err


@needs_rtx
@pytest.mark.parametrize(
    ("name", "sm"), [pytest.param("int8_bundle", "89", marks=pytest.mark.slow), ("fp16_bundle", "86")]
)
def test_act_is_built_for_the_other_generation(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, sm: str
) -> None:
    bundle = shutil.copytree(request.getfixturevalue(name), tmp_path / "bundle")
    words = ["build", str(bundle), "--backend", "tensorrt-rtx", "--sm", sm, "--quiet", "--json"]
    assert cli.main([*words, "--stage", "act"]) == 0
    (engine,) = json.loads(capsys.readouterr().out)["engines"]
    assert (engine["sm"], engine["cached"]) == (sm, False)


@needs_rtx
def test_sparse_kernels_are_allowed_where_weights_are_sparse(
    bundle_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default; each choice has an engine of its own."""
    words = ["build", str(bundle_copy), *RTX, "--stage", "text", "--quiet"]

    def sparsity(*more: str) -> tuple[bool, bool]:
        assert cli.main([*words, *more, "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        return summary["sparsity"], summary["engines"][0]["cached"]

    assert sparsity() == (False, False)
    edit_json(bundle_copy / "manifest.json", lambda data: data["stages"][1].update(sparse_share=0.75))
    assert cli.main(["inspect", str(bundle_copy)]) == 0
    assert "75.0% of its products with 2:4 sparse weights" in capsys.readouterr().out
    assert sparsity() == (True, False)
    assert sparsity("--sparsity", "disable") == (False, True)
    assert sparsity("--sparsity", "enable") == (True, True)
    assert cli.main(words) == 0
    assert "sparse kernels where they are faster" in capsys.readouterr().out


WRONG = {
    "shapes": (["--shapes", "frames:2x64x64x3"], "shapes of a bundle's stages are fixed"),
    "precision": (["--fp16"], "export --precision"),
    "stage": (["--stage", "levitate"], "has no stage 'levitate'"),
    "sm": (["--sm", "ampere"], "expected a compute capability"),
    "level": (["--builderOptimizationLevel", "7"], "expected a whole number from 0 to 5"),
    "pool": (["--memPoolSize", "dlaSRAM:1"], "expected POOL:SIZE"),
    "layers": (["--exportLayerInfo", "layers.json"], "on its device"),
    "backend": (["--backend", "onnxruntime"], "invalid choice"),
    "sparsity": (["--sparsity", "force"], "invalid choice"),
}


@needs_rtx
@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_exits_2_with_a_reason(
    small_bundle: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.main(["build", str(small_bundle), *RTX, *words, "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_no_bundle_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", str(tmp_path / "absent"), "--quiet", "--json"]) == 2
    assert "no such bundle folder" in json.loads(capsys.readouterr().out)["error"]
