"""Words of messages that depend on a number or a list."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 camera`, `2 cameras`; `plural` for nouns that do not take an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
