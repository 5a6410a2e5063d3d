"""Every number of the command line, of addresses and of hand files is checked where it is read, with its range."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
from pathlib import Path

import pytest

from vpp_edge.cli import main as cli
from vpp_edge.cli.numbers import Number
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import CameraConfig, parse_camera
from vpp_edge.runtime.hands.modbus_client import ModbusDevice
from vpp_edge.runtime.policy.engines.tensorrt.flags import memory_pools_from_text
from vpp_edge.runtime.policy.scripted import options_from_text
from vpp_edge.runtime.session.systemd import SystemdNotifier
from vpp_edge.runtime.sim.hand import sim_hand_from_address
from vpp_edge.runtime.telemetry.prometheus import check_address
from vpp_edge.runtime.telemetry.viewer import check_viewer

REQUIRED = {"run": ["b", "--instruction", "x"], "calibrate": ["b", "d", "-o", "t.json"], "export": ["c", "-o", "b"]}
REQUIRED |= {"kernels": ["list"], "completion": ["bash"], "doctor": [], "demo": []}
NO_NUMBERS = ["nan", "inf", "-inf", "1e400", "9" * 5000, "", " ", "x", "1_0", "１", "-1", "1e99", "0x10"]


def number_options() -> list[tuple[str, str]]:
    """(command, option) of every option that takes a number."""
    parser = cli.build_parser(cli.COMMANDS)
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    return [
        (name, action.option_strings[-1])
        for name, command in commands.items()
        for action in command._actions
        if isinstance(action.type, Number)
    ]


def test_every_number_option_has_a_range() -> None:
    parser = cli.build_parser(cli.COMMANDS)
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    loose = [(n, a.dest) for n, c in commands.items() for a in c._actions if a.type in (int, float, complex)]
    assert not loose
    assert len(number_options()) > 40


@pytest.mark.parametrize(("command", "option"), number_options())
def test_what_is_no_number_of_the_range_is_refused_with_option_value_and_range(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in NO_NUMBERS:
        assert cli.main([command, *REQUIRED.get(command, ["b"]), f"{option}={text}"]) == 2
        err = capsys.readouterr().err
        assert re.search(rf"^error: (-o/)?{option} .*: expected (a |0 or 1)", err), err
        assert "See: vpp-edge" in err and len(err) < 250


def test_two_dashes_are_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["profile", "b", "--top=--"], ["run", "b", "--instruction=--"], ["calibrate", "b", "d", "-o--"]):
        assert cli.main(words) == 2
        assert "expected a value, got '--'" in capsys.readouterr().err


SAID = {
    "run --threads=0": "--threads 0: expected a whole number from 1 to 1024",
    "run --rate-hz=nan": "--rate-hz nan: expected a number from 1 to 1000",
    "run --control-cpu=-1": "--control-cpu -1: expected a whole number from 0 to 4095",
    "run --seed=18446744073709551616": "--seed 18446744073709551616: expected a whole number from 0 to 18446744",
    "eval --episodes=-1": "--episodes -1: expected a whole number from 1 to 10000",
    "eval --replan-ms=0": "--replan-ms 0: expected a number above 0, at most 60000",
    "eval --require=90": "--require 90: expected a number from 0 to 1",
    "export --steps=4.0": "--steps 4.0: expected a whole number from 1 to 1000",
    "export --budget=0": "--budget 0: expected a number above 0, at most 0.999",
    "build --builderOptimizationLevel=6": "--builderOptimizationLevel 6: expected a whole number from 0 to 5",
    "calibrate --percentile=0": "--percentile 0: expected a number above 0, at most 100",
    "profile --warmup=-1": "--warmup -1: expected a whole number from 0 to 1000000",
}


@pytest.mark.parametrize(("words", "said"), SAID.items())
def test_the_message_is_fluent(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, option = words.split()
    assert cli.main([command, *REQUIRED.get(command, ["b"]), option]) == 2
    assert f"error: {said}" in capsys.readouterr().err


BAD_CAMERAS = [
    "width=0&height=9", "width=9&height=-1", "width=1e3&height=9", f"width={'9' * 400}&height=9", "width=1_0&height=9",
    "fps=0", "fps=nan", "fps=inf", "fps=1001", "fps=1e400", "fps=", "loop=2", "loop=-0.5",
]  # fmt: skip


@pytest.mark.parametrize("options", BAD_CAMERAS)
def test_a_camera_s_numbers(options: str) -> None:
    with pytest.raises(BadInputError, match=r"(width|height|fps|loop) .*: expected"):
        parse_camera(f"software:clip.mp4?{options}")


@pytest.mark.parametrize(
    "values",
    [{"width": "9", "height": 9}, {"width": 9.0, "height": 9}, {"fps": "30"}, {"fps": True}, {"fps": 10**400},
     {"source": 5}, {"view": None}, {"kind": None}],
)  # fmt: skip
def test_a_camera_s_values_from_python(values: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="camera"):
        CameraConfig(**{"kind": "software", "source": "clip.mp4", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", ["-1", "1.5", "x", "9" * 5000, str(2**64), "²"])
def test_a_simulated_hand_s_seed(seed: str) -> None:
    with pytest.raises(BadInputError, match="is a seed, a whole number from 0 to"):
        sim_hand_from_address(seed)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "9" * 5000, "80.0", "²"])
def test_ports(port: str) -> None:
    with pytest.raises(BadInputError, match="a whole number from 1 to 65535"):
        check_address(port)
    pytest.importorskip("pymodbus")
    with pytest.raises(BadInputError, match="PORT is a whole number from 1 to 65535"):
        ModbusDevice(f"tcp/localhost/{port}", unit=1, baud=115200, timeout_ms=10, word=0)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "9" * 5000, "x", "²"])
def test_the_port_of_a_viewer(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    check_viewer("rerun+http://localhost:9876/proxy")
    with pytest.raises(BadInputError, match="its port is not a whole number from 1 to 65535"):
        check_viewer(f"rerun+http://localhost:{port}/proxy")


SCRIPTED = ["latency_ms=-5", "latency_ms=x", "latency_ms=1.5", f"load_ms={'9' * 30}", "joints=0", "views=5", "delay=3",
            "latency_ms", "nan_every=0", "latency_ms=5,,joints=3"]  # fmt: skip


@pytest.mark.parametrize("text", [text for text in SCRIPTED if "=" in text])
def test_options_of_the_scripted_policy(text: str) -> None:
    with pytest.raises(BadInputError, match="scripted policy"):
        options_from_text(text)


def test_a_path_is_no_option_of_the_scripted_policy(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert options_from_text(str(tmp_path / "a=b")) == options_from_text("my_bundle/") == {}
    assert options_from_text("latency_ms=0, joints=3") == {"latency_ms": 0, "joints": 3}


@pytest.mark.parametrize("size", ["9" * 400, "-1", "nan", "1e5", f"{2**63}B"])
def test_sizes_of_memory_pools(size: str) -> None:
    with pytest.raises(BadInputError, match="--memPoolSize"):
        memory_pools_from_text(f"workspace:{size}")


@pytest.mark.parametrize("text", ["", "x", "²", "-1", "1.5", "9" * 5000])
def test_a_watchdog_time_that_is_no_number_ends_no_run(text: str) -> None:
    SystemdNotifier({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": text}).notify(1, True, "")


def test_numbers_of_a_json_document_stay_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "b", "--instruction", "x", "--rate-hz", "nan", "--json"]) == 2
    assert "--rate-hz nan" in json.loads(capsys.readouterr().out)["error"]
