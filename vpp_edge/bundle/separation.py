"""Whether a certificate was judged on other recordings than the calibration, by what they hold and not by their names.

Copies, renamed folders and a recording that is in two data sets hold the same rows. A key stands for three rows in
succession that all differ: three such pictures or states are the same only in copies, whereas a single picture of a
resting robot, or the black first frames of a camera, can be the same in recordings that have nothing to do with each
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vpp_edge.errors import BadInputError

ROWS_PER_KEY = 3
_DIGITS = 16  # hexadecimal digits of a key


@dataclass(frozen=True)
class RecordingContent:
    """What identifies a recording, and the rows of it that were used.

    Attributes:
        name: in its data set, for people.
        rows: numbers of the rows that observations were taken from; none of a recording that was only at hand.
        keys: of the whole recording, 16 hexadecimal digits each; see `content_keys`.
    """

    name: str
    rows: tuple[int, ...]
    keys: frozenset[str]

    @property
    def sha256(self) -> str:
        """Of all keys."""
        return _sha256(sorted(self.keys))

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `recording_content_from_json`."""
        return {"name": self.name, "sha256": self.sha256, "rows": list(self.rows), "keys": "".join(sorted(self.keys))}


def recording_content_from_json(data: Any) -> RecordingContent:
    """The content that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    text = data["keys"]
    bytes.fromhex(text)
    content = RecordingContent(
        name=str(data["name"]),
        rows=tuple(int(row) for row in data["rows"]),
        keys=frozenset(text[i : i + _DIGITS] for i in range(0, len(text), _DIGITS)),
    )
    if content.sha256 != data["sha256"]:
        raise ValueError(f"the keys of recording {content.name} do not have the SHA-256 stated beside them")
    return content


def dataset_sha256(recordings: Sequence[RecordingContent]) -> str:
    """Of the recordings of a data set, whatever their names and their order."""
    return _sha256(sorted(recording.sha256 for recording in recordings))


def content_keys(sequences: Sequence[Sequence[bytes]]) -> frozenset[str]:
    """Keys of a recording: one for every three successive rows that differ, or one for all of it where nothing moves.

    Args:
        sequences: the pictures of each view and the states, a digest per row.
    """
    keys = frozenset[str]().union(*map(moving_keys, sequences))
    return keys or frozenset({_key([digest for sequence in sequences for digest in sequence])})


def moving_keys(sequence: Sequence[bytes]) -> frozenset[str]:
    """Keys of every three successive rows that differ; none where nothing moves."""
    successive = zip(*(sequence[i:] for i in range(ROWS_PER_KEY)), strict=False)
    return frozenset(_key(rows) for rows in successive if len(set(rows)) == ROWS_PER_KEY)


@dataclass(frozen=True)
class Separation:
    """How the observations of a certificate are set apart from those of the calibration.

    Attributes:
        kind: `recordings`: no recording is on both sides. `rows`: other rows of the recording that was calibrated on,
            because it was the only one. `unknown`: the table does not say what it was measured on.
        recording: for `rows`, its name.
    """

    kind: str
    recording: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("recordings", "rows", "unknown"):
            raise BadInputError(f"observations that are set apart by {self.kind!r}; expected recordings, rows, unknown")

    @property
    def line(self) -> str:
        """For people: `export` and `inspect` print it."""
        return {
            "recordings": "held out: no recording was calibrated on, compared by content",
            "rows": f"CAUTION: judged on later rows of the recording that it was calibrated on ({self.recording}), the "
            "only one; they resemble each other, so the errors on another recording can be larger",
            "unknown": "CAUTION: unknown whether it was judged on what it was calibrated on: no hashes of "
            "the recordings were kept; run `vpp-edge calibrate` again and export with the new table",
        }[self.kind]

    def to_json(self) -> dict[str, str]:
        """Plain values, read back by `separation_from_json`."""
        return {"kind": self.kind, "recording": self.recording}


UNKNOWN = Separation("unknown")


def separation_from_json(data: Any) -> Separation | None:
    """The separation that `to_json` wrote; None for a certificate without one."""
    return None if data is None else Separation(str(data["kind"]), str(data["recording"]))


def separation(calibration: Sequence[RecordingContent] | None, held_out: Sequence[RecordingContent]) -> Separation:
    """How held-out recordings are set apart from those that were calibrated on.

    Args:
        calibration: None where it is not known.

    Raises:
        BadInputError: a recording, or a part of one, is on both sides.
    """
    if calibration is None:
        return UNKNOWN
    shared = [
        f"{judged.name} (there {seen.name}, {100 * len(common) / len(judged.keys):.0f} % of it is the same)"
        for judged in held_out
        for seen in calibration
        if (common := judged.keys & seen.keys)
    ]
    if shared:
        more = f" and {len(shared) - 4} more" if len(shared) > 4 else ""
        raise BadInputError(
            f"these held-out recordings were calibrated on: {', '.join(shared[:4])}{more}. Errors measured on them "
            "say nothing about new ones. Pass other recordings with --held-out; or leave these out of it with "
            "--recordings NAMES; or, without a table, leave --held-out out: part of --calibration is then held out"
        )
    return Separation("recordings")


def _key(digests: Sequence[bytes]) -> str:
    return _sha256([digest.hex() for digest in digests])[:_DIGITS]


def _sha256(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
