"""What systemd is told of a run (sd_notify(3)): in, how the loop is; out, datagrams, or nothing where nobody listens.

A unit of `Type=notify` with `WatchdogSec` ends a run whose control loop has stopped ticking. The hand then stops by its
own watchdog (docs/hands.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

SHARE_OF_WATCHDOG = 3  # how many times in its time the watchdog is told that the loop ticks
STATUS_NS = 1_000_000_000
END_US = 120_000_000  # longer than a recorder may take to end


class ServiceManager:
    """Tells the manager that started this process, if it asked to be told. Never blocks, never fails a run.

    Args:
        environment: with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, as systemd sets them.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_us = environment.get("WATCHDOG_USEC", "0") if watched else "0"
        self._every_ns = int(watchdog_us) * 1000 // SHARE_OF_WATCHDOG if watchdog_us.isdigit() else 0
        self._told_ns = self._status_ns = 0
        self._ticks = -1
        self._ready = False

    @property
    def listens(self) -> bool:
        """Whether somebody wants to be told."""
        return bool(self._address)

    def look(self, ticks: int, moving: bool, status: str) -> None:
        """Called often: what is due is told.

        Args:
            ticks: of the loop so far; the watchdog is only told when there are more than the last time.
            moving: whether the first chunk has come.
            status: one line for `systemctl status`.
        """
        if not self.listens:
            return
        now_ns, news = time.monotonic_ns(), []
        if moving and not self._ready:
            self._ready = True
            news.append("READY=1")
        if self._every_ns and ticks != self._ticks and now_ns - self._told_ns >= self._every_ns:
            self._told_ns, self._ticks = now_ns, ticks
            news.append("WATCHDOG=1")
        if now_ns - self._status_ns >= STATUS_NS:
            self._status_ns = now_ns
            news.append(f"STATUS={status.splitlines()[0] if status else ''}")
        if news:
            self._tell("\n".join(news))

    def stopping(self, status: str) -> None:
        """The loop has ended, and how. What is recorded may take its time now."""
        if self.listens:
            self._tell(f"STOPPING=1\nWATCHDOG_USEC={END_US}\nSTATUS={status.splitlines()[0] if status else ''}")

    def _tell(self, text: str) -> None:
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(text.encode(), address)
