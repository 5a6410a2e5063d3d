"""Reads the JSON files that users hand us: any Unicode encoding, with or without a byte order mark, of bounded size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.files.foreign import foreign_content

MOST_BYTES = 256 << 20


def read_json_file(
    path: Path, meaning: str, *, most_bytes: int = MOST_BYTES, error: type[BadInputError] = BadInputError
) -> Any:
    """The content of a JSON file.

    Args:
        meaning: what it should hold, such as "an annotation of a recording".
        error: the class of errors to raise.

    Raises:
        BadInputError: the file is missing, not a file, too large, an LFS pointer or the like, or not JSON.
    """
    try:
        if not path.is_file():  # a named pipe would block
            raise error(f"{path}: {'not a file' if path.exists() else 'missing'}; it should hold {meaning}")
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
    except OSError as failure:
        raise error(f"{path}: cannot be read as {meaning}: {failure.strerror or failure}") from failure
    if len(raw) > most_bytes:
        raise error(f"{path}: larger than {most_bytes} bytes; this is not {meaning}")
    try:
        return json.loads(raw)  # of bytes: it detects the encoding and a byte order mark
    except (ValueError, RecursionError) as failure:
        found = foreign_content(path) or f"not readable as JSON ({failure}); it should hold {meaning}"
        raise error(f"{path}: {found}") from failure
