"""What a service manager hears: ready with the first chunk, alive while the loop ticks; nothing where none asked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT

from vpp_edge.runtime.session.systemd import SystemdNotifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        yield ear


def heard(ear: socket.socket) -> list[str]:
    lines: list[str] = []
    try:
        while True:
            lines += ear.recv(4096).decode().splitlines()
    except BlockingIOError:
        return lines


def service(ear: socket.socket, watchdog_us: int = 300_000, **more: str) -> SystemdNotifier:
    return SystemdNotifier({"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": str(watchdog_us), **more})


def test_ready_comes_with_the_first_chunk_and_once(manager: socket.socket) -> None:
    told = service(manager)
    told.notify(5, False, "waiting for the policy\nto load")
    assert heard(manager) == ["WATCHDOG=1", "STATUS=waiting for the policy"]
    told.notify(6, True, "moving")
    told.notify(7, True, "moving")
    assert heard(manager) == ["READY=1"]


def test_a_loop_that_does_not_tick_starves_the_watchdog(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = [0]
    monkeypatch.setattr("vpp_edge.runtime.session.systemd.time.monotonic_ns", lambda: now_ns[0])
    told, beats = service(manager), []
    for ticks in (10, 20, 20, 20, 21):
        now_ns[0] += 100_000_000
        told.notify(ticks, True, "")
        beats.append("WATCHDOG=1" in heard(manager))
    assert beats == [True, True, False, False, True]


def test_the_watchdog_of_another_process_is_left_to_it(manager: socket.socket) -> None:
    service(manager, WATCHDOG_PID=str(os.getpid() + 1)).notify(5, False, "")
    assert "WATCHDOG=1" not in heard(manager)
    service(manager, WATCHDOG_PID=str(os.getpid())).notify(5, False, "")
    assert "WATCHDOG=1" in heard(manager)


def test_the_end_gives_the_recorder_time(manager: socket.socket) -> None:
    service(manager).stopping("the loop has ended")
    assert heard(manager) == ["STOPPING=1", "WATCHDOG_USEC=120000000", "STATUS=the loop has ended"]


def test_a_manager_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000"}).notify(1, True, "")
    silent = SystemdNotifier({})
    assert not silent.listens
    silent.notify(1, True, "")
    silent.stopping("")


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (ROOT / "examples/systemd/vpp-edge.service").read_text()
    unit = tmp_path / "vpp-edge.service"
    unit.write_text(text.replace("/opt/vpp-edge/bin/vpp-edge", "/bin/true").replace("User=robot\n", ""))
    answer = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    complaints = [line for line in answer.stderr.splitlines() if "vpp-edge.service" in line]
    assert not complaints, complaints
