"""A LEAP hand on a simulated bus, configured for tests."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from project import ROOT

from vpp_edge.runtime.hands.config import config_from_file
from vpp_edge.runtime.hands.leap_config import LeapConfig

EXAMPLE: Path = ROOT / "examples" / "hands" / "leap.json"


def leap_config(**changes: object) -> LeapConfig:
    """The example's configuration, with more time for readings than on a robot: the machine may be busy."""
    return dataclasses.replace(config_from_file(LeapConfig, EXAMPLE), **{"read_ms": 30.0, **changes})


def until(done, what: str, limit_s: float = 5.0) -> float:
    """Waits for `done()`; returns the seconds that it took."""
    start = time.monotonic()
    while not done():
        assert time.monotonic() - start < limit_s, f"after {limit_s} s not yet: {what}"
        time.sleep(0.001)
    return time.monotonic() - start
