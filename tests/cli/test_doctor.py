"""doctor on this machine, and on machines that lack something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cpu_time import HANGS_S

from vpp_edge.cli import doctor, libraries, main
from vpp_edge.doctor import devices, host
from vpp_edge.doctor.checks import LIMITED, MISSING, OK, Check, run_command, run_python
from vpp_edge.doctor.serial_ports import check_serial_ports

pytestmark = pytest.mark.live

STATUSES = {OK, LIMITED, MISSING}


def test_json_has_every_check_with_a_fix_for_every_lack(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"checks", "can"}
    for check in answer["checks"]:
        assert set(check) == {"name", "status", "detail", "needed_for", "fix"}
        assert check["status"] in STATUSES and check["detail"] and check["needed_for"]
        assert bool(check["fix"]) == (check["status"] != OK)
    names = [check["name"] for check in answer["checks"]]
    assert len(names) == len(set(names)) and {"Python", "numpy", "memory", "real-time scheduling"} <= set(names)
    assert answer["can"]["profile"] is True


def test_the_table_has_a_line_per_check_and_ends_with_what_can_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "ok      numpy" in shown and "This machine can: " in shown.splitlines()[-2]


def test_doctor_imports_no_heavy_library() -> None:
    code = (
        "import sys; from vpp_edge.cli.main import main; main(['doctor', '--json']); "
        "print(*{n.partition('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS_S)
    assert not {"torch", "mujoco", "onnxruntime", "pyrealsense2", "numpy"} & set(answer.stderr.split())


def test_a_missing_optional_library_is_named_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda module: module != "torch")
    assert main.main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    torch = next(c for c in answer["checks"] if c["name"] == "torch")
    assert torch["status"] == MISSING and "[export]" in torch["fix"] and "export" in torch["needed_for"]
    assert answer["can"]["export"] is False and answer["can"]["profile"] is True


def test_a_missing_base_library_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "is_installed", lambda module: module != "numpy")
    assert main.main(["doctor", "--json"]) == 1
    assert not any(json.loads(capsys.readouterr().out)["can"].values())


def test_every_use_needs_checks_that_are_made() -> None:
    conditional = {"rendering", "RealSense SDK", "RealSense cameras", "shared memory", "NVIDIA GPU"}
    for needs in doctor.USES.values():
        assert set(needs) <= set(libraries.LIBRARIES) | conditional


@pytest.mark.parametrize(("version", "status"), [((3, 9), MISSING), ((3, 10), OK), ((3, 13), OK), ((3, 14), MISSING)])
def test_python_versions(version: tuple[int, int], status: str) -> None:
    assert host.check_python(version).status == status


def test_serial_ports_that_a_hand_cannot_use_are_named_with_their_fix(tmp_path: Path) -> None:
    timers = tmp_path / "bus/usb-serial/devices"
    for name, latency in (("ttyUSB0", "16"), ("ttyUSB1", "1"), ("ttyACM0", "")):
        (tmp_path / name).touch()
        (timers / name).mkdir(parents=True)
        if latency:
            (timers / name / "latency_timer").write_text(f"{latency}\n")
    found = {Path(c.name).name: c for c in check_serial_ports(tmp_path, tmp_path)}
    assert {name: c.status for name, c in found.items()} == {"ttyUSB0": LIMITED, "ttyUSB1": OK, "ttyACM0": OK}
    assert "every 16 ms" in found["ttyUSB0"].detail and "latency_timer" in found["ttyUSB0"].fix
    assert check_serial_ports(tmp_path / "nowhere") == []


def test_little_room_is_limited_not_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": 64 * 1024**2})
    monkeypatch.setattr(host.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(host.room, "free_bytes", lambda folder: 64 * 1024**2)
    assert host.check_disk(tmp_path).status == LIMITED
    shared = host.check_shared_memory(tmp_path)
    assert shared.status == LIMITED and "--shm-size" in shared.fix
    assert host.check_shared_memory(tmp_path / "none").status == MISSING


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        ([], [OK, MISSING]),
        ([{"name": "D435", "serial": "123", "usb": "3.2"}], [OK, OK]),
        ([{"name": "D435", "serial": "123", "usb": "2.1"}], [OK, LIMITED]),
        ({"error": "libusb-1.0.so.0: cannot open shared object file"}, [MISSING]),
    ],
)
def test_realsense_answers(monkeypatch: pytest.MonkeyPatch, answer: object, statuses: list[str]) -> None:
    monkeypatch.setattr(devices, "run_python", lambda code, environment: answer)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: object())
    checks = devices.check_realsense()
    assert [check.status for check in checks] == statuses
    assert all(bool(check.fix) == (check.status != OK) for check in checks)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"kind": "egl", "note": "", "empty": False}, OK),
        ({"kind": "software", "note": "no libEGL here", "empty": False}, LIMITED),
        ({"kind": "egl", "note": "", "empty": True}, MISSING),
        ({"error": "ended by signal 11"}, MISSING),
    ],
)
def test_rendering_answers(monkeypatch: pytest.MonkeyPatch, answer: dict[str, object], status: str) -> None:
    monkeypatch.setattr(devices, "run_python", lambda code, environment: answer)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: object())
    (check,) = devices.check_rendering()
    assert check.status == status and bool(check.fix) == (status != OK)


@pytest.mark.parametrize(
    ("providers", "gpu", "status"),
    [
        (["CPUExecutionProvider"], "NVIDIA RTX A2000, 580.1, 6138 MiB, 8.6", LIMITED),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "NVIDIA RTX A2000, 580.1, 6138 MiB, 8.6", OK),
        (["CPUExecutionProvider"], None, OK),
    ],
)
def test_a_gpu_without_its_provider_is_told(
    monkeypatch: pytest.MonkeyPatch, providers: list[str], gpu: str | None, status: str
) -> None:
    monkeypatch.setattr(devices, "run_python", lambda *_: providers)
    monkeypatch.setattr(devices, "run_command", lambda *_: gpu)
    monkeypatch.setattr(devices, "jetson_model", lambda: None)
    (check,) = devices.check_engines()
    assert (check.status, "onnxruntime-gpu" in check.fix) == (status, status == LIMITED)


def test_a_jetson_and_its_power_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"NVIDIA Jetson AGX Orin Developer Kit\0")
    assert devices.jetson_model(model) == "NVIDIA Jetson AGX Orin Developer Kit"
    model.write_bytes(b"Raspberry Pi 5\0")
    assert devices.jetson_model(model) is None
    monkeypatch.setattr(devices, "jetson_model", lambda: "NVIDIA Jetson AGX Orin")
    for mode, status in (("NV Power Mode: MAXN\n0", OK), ("NV Power Mode: 30W\n2", LIMITED)):
        monkeypatch.setattr(devices, "run_command", lambda *command, mode=mode: mode)
        board, power = devices.check_accelerator()
        assert board.status == OK and power.status == status and bool(power.fix) == (status == LIMITED)


def test_a_probe_that_hangs_crashes_or_babbles_is_an_answer() -> None:
    environment = dict(os.environ)
    start = time.monotonic()
    assert "no answer" in run_python("import time; time.sleep(60)", environment, timeout_s=1)["error"]
    assert time.monotonic() - start < 30
    assert "signal" in run_python("import os; os.abort()", environment)["error"]
    assert run_python("raise SystemExit(3)", environment)["error"] == "exit status 3"
    assert "ZeroDivisionError" in run_python("1 / 0", environment)["error"]
    assert "error" in run_python("print('no json')", environment)
    assert run_python("print('babble'); print([1])", environment) == [1]
    assert run_command("a-program-that-is-not-there") is None


def test_the_report_fits_the_width_and_names_the_fix() -> None:
    check = Check("camera", MISSING, "x" * 300, "run", fix="plug one in")
    report = doctor.report_from_checks([check], {"run": False}, width=80)
    assert len(report.splitlines()[0]) <= 80
    assert "fix: plug one in" in report and "can: nothing yet" in report


def test_json_is_one_line_as_that_of_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [doctor.check_library("numpy"), doctor.check_library("mujoco")]
    monkeypatch.setattr(doctor, "check_all", lambda folder: checks)
    assert main.main(["doctor", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and [c["name"] for c in json.loads(out)["checks"]] == ["numpy", "mujoco"]
