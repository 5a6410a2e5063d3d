"""Sentences for the user besides results, progress and errors."""

from __future__ import annotations

import sys


def print_note(note: str) -> None:
    """Prints a note on stderr, over the line of a progress display."""
    over_progress = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{over_progress}note: {note}", file=sys.stderr)
