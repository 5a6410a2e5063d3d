"""The counters of a run for Prometheus, in its text format on a local socket.

Served by a process of its own, so that no request can disturb the loop. Either a Unix socket (mode 0600), or a port of
this machine's loopback interface; never one that other machines can reach.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from vpp_edge.errors import BadInputError, HardwareFaultError
from vpp_edge.number_range import PORT
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_body import child_body
from vpp_edge.runtime.ipc.counters import CameraCounts, ChunkCounts, LoopCounts, PolicyCounts, metrics_of
from vpp_edge.runtime.ipc.loop_state import Phase

LOOPBACK = "127.0.0.1"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
POLL_S = 0.1


def check_address(text: str) -> None:
    """Checks the address of `--metrics`: the path of a Unix socket, with a `/`, or a port of the loopback interface.

    Raises:
        BadInputError: neither, another kind of file is there already, or it is in use or not permitted.
    """
    if PORT.parsed(text) is None:
        _check_path(text)
    try:
        _bound(text, BaseHTTPRequestHandler).server_close()
    except OSError as error:
        raise BadInputError(f"--metrics {text}: {error.strerror}; give another port or path") from error


def _check_path(text: str) -> None:
    path = Path(text)
    if "/" not in text or len(os.fsencode(text)) > 100 or not path.parent.is_dir():
        raise BadInputError(
            f"--metrics {text}: expected a port, {PORT}, or a path such as /run/user/1000/vpp-edge.sock in a "
            "folder that exists, of at most 100 bytes"
        )
    if (path.exists() or path.is_symlink()) and not path.is_socket():
        raise BadInputError(f"--metrics {text}: there is a file that is not a socket; give another path")


def text_of(channels: Channels) -> str:
    """The counters of this moment in Prometheus's text format."""
    views = [(f'{{view="{camera.name}"}}', camera.board) for camera in channels.cameras]
    families = (
        (LoopCounts, [("", channels.loop)]),
        (ChunkCounts, [("", channels.loop)]),
        (PolicyCounts, [("", channels.policy)]),
        (CameraCounts, views),
    )
    lines: list[str] = []
    for counts, labelled in families:
        for metric in metrics_of(counts):
            lines += [f"# HELP vpp_edge_{metric.name} {metric.help}", f"# TYPE vpp_edge_{metric.name} {metric.kind}"]
            lines += [f"vpp_edge_{metric.name}{label} {board[metric.field]}" for label, board in labelled]
    return "\n".join(lines) + "\n"


def run_metrics(parent_pid: int, address: str, channels: Channels) -> None:
    """Body of the metrics process: serves until told to stop."""
    with child_body(parent_pid, channels.metrics, channels.metrics_note), _server(address, channels) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True).start()
        channels.metrics["phase"] = Phase.RUNNING
        while not channels.orders["stopping"]:
            channels.metrics["heartbeat_ns"] = time.monotonic_ns()
            time.sleep(POLL_S)
        server.shutdown()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = daemon_threads = True


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def server_bind(self) -> None:
        path = Path(str(self.server_address))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, "another run uses it")
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            super().server_bind()
        finally:
            os.umask(before)

    def server_close(self) -> None:
        super().server_close()
        with contextlib.suppress(OSError):
            Path(str(self.server_address)).unlink()


def _server(address: str, channels: Channels) -> socketserver.BaseServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text_of(channels).encode() if self.path in ("/", "/metrics") else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Requests are not logged."""

        def address_string(self) -> str:
            return "local"

    try:
        return _bound(address, Handler)
    except OSError as error:
        raise HardwareFaultError(f"--metrics {address}: {error.strerror}") from error


def _bound(address: str, handler: type[BaseHTTPRequestHandler]) -> socketserver.BaseServer:
    return _Server((LOOPBACK, int(address)), handler) if PORT.parsed(address) else _UnixServer(address, handler)
