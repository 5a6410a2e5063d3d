"""A word that is spelt almost like a known one: the error says which was meant, wherever words are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpp_edge.bundle.engine import EngineOptions
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError
from vpp_edge.kernels.catalogue import load_operation
from vpp_edge.runtime.cameras.config import parse_camera
from vpp_edge.runtime.cameras.views import cameras_by_view
from vpp_edge.runtime.hands.kinds import hand_from_text
from vpp_edge.runtime.policy.engines.registry import check_backend
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags, memory_pools_from_text
from vpp_edge.runtime.policy.engines.tensorrt.library import library_of_backend
from vpp_edge.runtime.policy.handover_modes import checked_mode
from vpp_edge.runtime.policy.scripted import options_from_text, scripted_spec
from vpp_edge.suggestion import did_you_mean

COMMAND_LINES = {
    "rnu": "'run'",
    "exprt c": "'export'",
    "--verison": "'--version'",
    "run b --instrution x": "'--instruction'",
    "run b --instruction x --treads 2": "'--threads'",
    "export c -o b --precison=int8": "'--precision'",
    "export c -o b --precision in8": "'int8'",
    "export c -o b --solver dmpp_2m": "'dpmpp_2m'",
    "profile b --roofline orin-agx-64": "'orin-agx-64gb'",
    "calibrate b d -o t --device Orin-NX-16": "'orin-nx-16gb'",
    "eval demo --chunking synchronus": "'synchronous'",
    "build b --backend tensor-rt": "'tensorrt'",
    "build b --tilingOptimizationLevel fats": "'fast'",
    "run views=1 --backend scripted --instruction x --camera vdeo:x": "'video'",
    "run views=1 --backend scripted --instruction x --camera software:sim/tob": "'top'",
    "run views=1 --backend scripted --instruction x --camera statc=software:sim/top": "'static'",
    "run views=1 --backend scripted --instruction x --camera software:sim/top?fsp=3": "'fps'",
    "run views=1 --backend scripted --instruction x --camera software:sim/top --hand inspre:x": "'inspire'",
    "run view=1 --backend scripted --instruction x": "'views'",
    "run views=1 --backend scripted --instruction x --camera software:sim/top --provider cud": "'cuda'",
    "run b --backend onxruntime --instruction x": "'onnxruntime'",
    "completion bsh": "'bash'",
}


@pytest.mark.parametrize(("line", "meant"), COMMAND_LINES.items())
def test_a_command_line(line: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert f"(did you mean {meant}?)" in capsys.readouterr().err


def test_python(small_bundle: Path) -> None:
    spec = scripted_spec({})
    for call, meant in {
        lambda: Bundle(small_bundle).stage("percieve"): "perceive",
        lambda: check_backend("tensorrt_rtx"): "tensorrt-rtx",
        lambda: EngineOptions(provider="CUDA"): "cuda",
        lambda: checked_mode("ensamble"): "ensemble",
        lambda: hand_from_text("lepa:/dev/ttyUSB0"): "leap",
        lambda: load_operation("geglo"): "geglu",
        lambda: options_from_text("latency=5"): "latency_ms",
        lambda: memory_pools_from_text("workspac:5"): "workspace",
        lambda: BuildFlags(profiling_verbosity="detail"): "detailed",
        lambda: library_of_backend("tensort"): "tensorrt",
        lambda: cameras_by_view(spec, [parse_camera("static=realsense:1"), parse_camera("wirst=realsense:2")]): "wrist",
    }.items():
        with pytest.raises(BadInputError) as refused:
            call()
        assert f"(did you mean {meant!r}?)" in str(refused.value)


def test_nothing_is_suggested_for_a_word_of_its_own() -> None:
    assert did_you_mean("coreml", ["onnxruntime", "torch"]) == ""
    assert did_you_mean("", ["a"]) == did_you_mean(None, []) == ""
