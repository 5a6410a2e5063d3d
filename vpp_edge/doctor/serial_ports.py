"""Checks of the serial adapters that hands are connected to: permission and latency."""

from __future__ import annotations

import os
from pathlib import Path

from vpp_edge.doctor.checks import LIMITED, OK, Check

NEEDED_FOR = "run --hand leap, inspire, xhand"
KINDS = ("ttyUSB*", "ttyACM*")
QUICK_MS = 1  # an FTDI adapter buffers answers for 16 ms by default


def check_serial_ports(dev: Path = Path("/dev"), sysfs: Path = Path("/sys")) -> list[Check]:
    """One check per adapter: whether this user may open it and its latency is low. Empty if none is plugged in."""
    ports = sorted(port for kind in KINDS for port in dev.glob(kind))
    return [_check(port, sysfs / "bus/usb-serial/devices" / port.name / "latency_timer") for port in ports]


def _check(port: Path, timer: Path) -> Check:
    if not os.access(port, os.R_OK | os.W_OK):
        fix = "sudo usermod -aG dialout $USER   (then log in again)"
        return Check(str(port), LIMITED, "no permission to open it", NEEDED_FOR, fix=fix)
    latency_ms = _latency_ms(timer)
    if latency_ms is not None and latency_ms > QUICK_MS:
        fix = f"echo {QUICK_MS} | sudo tee {timer}   (a udev rule makes it last)"
        detail = f"answers only every {latency_ms} ms, too slow for a hand"
        return Check(str(port), LIMITED, detail, NEEDED_FOR, fix=fix)
    return Check(str(port), OK, "can be opened", NEEDED_FOR)


def _latency_ms(timer: Path) -> int | None:
    """None for adapters without a latency timer."""
    try:
        return int(timer.read_text())
    except (OSError, ValueError):
        return None
