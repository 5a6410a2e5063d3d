"""Writers that run in a process of their own for test_rings; a spawned child imports them by name."""

from __future__ import annotations

import time

import numpy as np


def write_forever(slot, ring, size):
    """Messages whose every element is the message's own number, as fast as they go."""
    number = slot.sequence
    while True:
        number += 1
        record = slot.begin()
        record["values"][: size // 2] = number
        record["values"][size // 2 :] = number
        slot.commit(time.monotonic_ns())
        if ring.waiting < ring.capacity:
            entry = ring.begin()
            entry["values"][:] = number
            ring.commit()


def die_in_the_middle(slot, ring):
    slot.begin()["values"][:3] = -1
    ring.begin()["values"][:3] = -1
    time.sleep(60)


DTYPE = np.dtype([("values", "<i8", (4096,))])
