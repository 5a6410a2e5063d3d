"""Words that people give: whether they are words, and which known one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vpp_edge.errors import BadInputError


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean 'WORD'?)` for the known word that is spelt most like it; empty if none is."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def check_text(name: str, value: object) -> None:
    """Raises BadInputError, which calls the value `name`, unless it is text."""
    if not isinstance(value, str):
        raise BadInputError(f"{name} is of type {type(value).__name__}, expected text")
