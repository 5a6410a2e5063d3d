"""An untrained policy as small as the format allows, for tests that must run everywhere."""

from __future__ import annotations

from vpp_edge.checkpoint.untrained import UntrainedSizes

SMALL = UntrainedSizes(
    image=64, channels=(32, 32, 32, 32), width=32, queries=2, depth=1, horizon=4, steps=3, text_width=32
)
