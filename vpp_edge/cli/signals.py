"""Signals that end a command."""

from __future__ import annotations

import signal
from types import FrameType


def stop_on_sigterm() -> None:
    """Makes SIGTERM clean up and exit as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
