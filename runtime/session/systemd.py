"""Notifies systemd about a run (sd_notify(3)): readiness, watchdog, status.

A unit of `Type=notify` with `WatchdogSec` ends a run whose control loop has stopped ticking. The hand then stops by its
own watchdog (docs/hands.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from vpp_edge.number_range import whole

WATCHDOG_US = whole(1, 2**63 - 1)
SHARE_OF_WATCHDOG = 3  # notifications per watchdog timeout
STATUS_NS = 1_000_000_000
END_US = 120_000_000  # longer than a recorder may take to complete its episode


class SystemdNotifier:
    """Notifies the service manager that started this process, if there is one. Never blocks, never fails a run.

    Args:
        environment: with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, as systemd sets them.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_us = environment.get("WATCHDOG_USEC", "0") if watched else "0"
        self._every_ns = (WATCHDOG_US.parsed(watchdog_us) or 0) * 1000 // SHARE_OF_WATCHDOG
        self._fed_ns = self._status_ns = 0
        self._ticks = -1
        self._ready = False

    @property
    def listens(self) -> bool:
        """Whether a service manager asked for notifications."""
        return bool(self._address)

    def notify(self, ticks: int, moving: bool, status: str) -> None:
        """Sends what is due; call it often.

        Args:
            ticks: of the loop so far; the watchdog is only fed when there are more than the last time.
            moving: whether the first chunk has been used.
            status: one line for `systemctl status`.
        """
        if not self.listens:
            return
        now_ns, news = time.monotonic_ns(), []
        if moving and not self._ready:
            self._ready = True
            news.append("READY=1")
        if self._every_ns and ticks != self._ticks and now_ns - self._fed_ns >= self._every_ns:
            self._fed_ns, self._ticks = now_ns, ticks
            news.append("WATCHDOG=1")
        if now_ns - self._status_ns >= STATUS_NS:
            self._status_ns = now_ns
            news.append(f"STATUS={status.splitlines()[0] if status else ''}")
        if news:
            self._send("\n".join(news))

    def stopping(self, status: str) -> None:
        """The loop has ended. Extends the timeout, because a recording may still have to be completed."""
        if self.listens:
            self._send(f"STOPPING=1\nWATCHDOG_USEC={END_US}\nSTATUS={status.splitlines()[0] if status else ''}")

    def _send(self, text: str) -> None:
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(text.encode(), address)
