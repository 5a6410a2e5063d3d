"""The modes of handing over from one chunk to the next, which `chunk_handover.py` implements. Imports no numpy.

The first is for robots; the others are what it is compared with.
"""

from __future__ import annotations

from vpp_edge.errors import BadInputError
from vpp_edge.suggestion import check_text, did_you_mean

RTC = "rtc"  # the next chunk is made to continue the present one (rtc_prefix.py)
NAIVE = "naive"  # it takes over as it is
ENSEMBLE = "ensemble"  # it is averaged with what earlier ones planned for the same moments (ACT, arXiv 2304.13705)
SYNCHRONOUS = "synchronous"  # a chunk is played to its end, then the hand waits for the next one
MODES = (RTC, NAIVE, ENSEMBLE, SYNCHRONOUS)


def checked_mode(mode: str) -> str:
    """`mode` itself; raises BadInputError where it is not one of MODES."""
    check_text("chunking", mode)
    if mode not in MODES:
        raise BadInputError(f"unknown chunking {mode!r}{did_you_mean(mode, MODES)}; known: {', '.join(MODES)}")
    return mode
