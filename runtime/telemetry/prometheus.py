"""The counts of a run for Prometheus, on request only: in, shared memory; out, its text format on a local socket.

Served by a process of its own, so that nobody who asks can disturb the loop. Either a Unix socket (mode 0600), or a
port of this machine's loopback interface; never one that others can reach.
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
from vpp_edge.runtime.cameras.process import child_process
from vpp_edge.runtime.ipc.channels import RUNNING, Channels

LOOPBACK = "127.0.0.1"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
POLL_S = 0.1
# (name, type, help, field of a board)
LOOP = (
    ("control_ticks_total", "counter", "Periods served by the control loop.", "ticks"),
    ("control_missed_total", "counter", "Periods that the control loop was too late for.", "missed"),
    ("control_late_total", "counter", "Periods served or missed later than 2 ms.", "late"),
    ("control_moving", "gauge", "1 from the first chunk on.", "moving"),
    ("control_holds_total", "counter", "Times the hand came to a hold for want of a chunk.", "holds"),
    ("chunks_used_total", "counter", "Chunks executed, at least in part.", "used"),
    ("chunks_rejected_total", "counter", "Chunks with NaN, Inf or a wrong shape.", "rejected"),
    ("chunks_late_total", "counter", "Chunks whose actions had all passed.", "too_late"),
    ("chunks_old_total", "counter", "Chunks of an earlier request or episode.", "old"),
)
POLICY = (
    ("policy_inferences_total", "counter", "Inferences.", "inferences"),
    ("policy_stale_waits_total", "counter", "Waits on frames older than two frame periods.", "stale_waits"),
    ("policy_apart_waits_total", "counter", "Waits on views further apart than a frame period.", "apart_waits"),
)
CAMERA = (
    ("camera_frames_total", "counter", "Frames delivered.", "delivered"),
    ("camera_dropped_total", "counter", "Frames missing in the device's counter.", "dropped"),
    ("camera_repeated_total", "counter", "Frames that came again.", "repeated"),
    ("camera_timeouts_total", "counter", "Times a camera gave nothing new when it should.", "timeouts"),
)


def checked_address(text: str) -> str:
    """The address of `--metrics`: the path of a Unix socket, with a `/`, or a port of the loopback interface.

    Raises:
        BadInputError: neither, or something else is there already.
    """
    if text.isdecimal() and 0 < int(text) < 65536:
        return text
    path = Path(text)
    if "/" not in text or len(os.fsencode(text)) > 100 or not path.parent.is_dir():
        raise BadInputError(
            f"--metrics {text}: expected a port of 1 to 65535, or a path such as /run/user/1000/vpp-edge.sock in a "
            "folder that exists, of at most 100 bytes"
        )
    if path.exists() and not path.is_socket():
        raise BadInputError(f"--metrics {text}: there is something else than a socket; give another path")
    return text


def text_of(channels: Channels) -> str:
    """The counts of this moment in Prometheus's text format."""
    lines: list[str] = []
    boards = (
        [("", channels.loop)],
        [("", channels.policy)],
        [(f'{{view="{camera.name}"}}', camera.board) for camera in channels.cameras],
    )
    for family, labelled in zip((LOOP, POLICY, CAMERA), boards, strict=True):
        for name, kind, words, field in family:
            lines += [f"# HELP vpp_edge_{name} {words}", f"# TYPE vpp_edge_{name} {kind}"]
            lines += [f"vpp_edge_{name}{label} {board[field]}" for label, board in labelled]
    return "\n".join(lines) + "\n"


def run_metrics(parent_pid: int, address: str, channels: Channels) -> None:
    """Body of the metrics process: answers until told to stop."""
    with child_process(parent_pid, channels.metrics, channels.metrics_note), _server(address, channels) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True).start()
        channels.metrics["phase"] = RUNNING
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
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            if line.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, "another run answers there")
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
            """Nobody reads a log of questions."""

        def address_string(self) -> str:
            return "local"

    try:
        return _Server((LOOPBACK, int(address)), Handler) if address.isdecimal() else _UnixServer(address, Handler)
    except OSError as error:
        raise HardwareFaultError(f"--metrics {address}: {error.strerror}") from error
