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


def check_steps(mode: str, steps: int) -> None:
    """Raises BadInputError where real-time chunking is asked of a policy that cannot follow its prefix."""
    if mode == RTC and steps == 1:
        raise BadInputError(
            f"chunking {RTC}: this policy samples its actions in one step, which ends before it has seen how the chunk "
            f"being executed goes on; run it with --chunking {NAIVE}, or export it with more --steps"
        )


def checked_mode(mode: str) -> str:
    """`mode` itself; raises BadInputError where it is not one of MODES."""
    check_text("chunking", mode)
    if mode not in MODES:
        raise BadInputError(f"unknown chunking {mode!r}{did_you_mean(mode, MODES)}; known: {', '.join(MODES)}")
    return mode
