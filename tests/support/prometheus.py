"""Reads what a run tells Prometheus, as strictly as its text format is."""

from __future__ import annotations

import re
import socket
from pathlib import Path

SAMPLE = re.compile(r'vpp_edge_[a-z_]+(\{view="[a-z]+"\})? [0-9]+')


def samples(text: str) -> dict[str, int]:
    """Value by name and label."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in lines)
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def asked(path: Path, question: bytes = b"GET /metrics HTTP/1.0\r\n\r\n") -> str:
    """What a Unix socket answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(10)
        line.connect(str(path))
        line.sendall(question)
        line.shutdown(socket.SHUT_WR)
        parts = []
        while part := line.recv(4096):
            parts.append(part)
    return b"".join(parts).decode()
