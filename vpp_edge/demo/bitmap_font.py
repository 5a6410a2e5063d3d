"""A bitmap font for captions, so that no font library is needed."""

from __future__ import annotations

import numpy as np

HEIGHT, _WIDTH, _GAP = 8, 5, 1
# Five columns per letter in hexadecimal, the lowest bit on top: the usual font of small displays.
_COLUMNS = {
    "a": "2054547840", "b": "7f28444438", "c": "3844444428", "d": "384444287f", "e": "3854545418", "f": "00087e0902",
    "g": "18a4a49c78", "h": "7f08040478", "i": "00447d4000", "j": "2040403d00", "k": "7f10284400", "l": "00417f4000",
    "m": "7c04780478", "n": "7c08040478", "o": "3844444438", "p": "fc18242418", "q": "18242418fc", "r": "7c08040408",
    "s": "4854545424", "t": "04043f4424", "u": "3c4040207c", "v": "1c2040201c", "w": "3c4030403c", "x": "4428102844",
    "y": "4c9090907c", "z": "4464544c44", "0": "3e5149453e", "1": "00427f4000", "2": "7249494946", "3": "21414d3d33",
    "4": "1814127f10", "5": "2745454539", "6": "3c4a494931", "7": "4121110907", "8": "3649494936", "9": "464949291e",
    ":": "0000140000", ".": "0000606000", ",": "0080703000", " ": "0000000000",
}  # fmt: skip
_UNKNOWN = "7f4141417f"


def ink_of(text: str, scale: int = 1) -> np.ndarray:
    """(8 * scale, 6 * scale * len(text)) bool: which pixels are ink; an unknown letter is drawn as a box."""
    columns = [int(byte) for letter in text.lower() for byte in (*_letter(letter), *(0,) * _GAP)]
    bits = (np.array(columns, np.uint8)[None, :] >> np.arange(HEIGHT)[:, None]) & 1
    return bits.astype(bool).repeat(scale, axis=0).repeat(scale, axis=1)


def _letter(letter: str) -> bytes:
    return bytes.fromhex(_COLUMNS.get(letter, _UNKNOWN))
