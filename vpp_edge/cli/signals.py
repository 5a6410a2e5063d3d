"""Signals that end a command."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Makes SIGTERM and a closed terminal clean up and exit as Ctrl-C does; what the caller ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = [number for number in ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in ending:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)  # they often come together, and must not interrupt the cleaning up
    raise KeyboardInterrupt
