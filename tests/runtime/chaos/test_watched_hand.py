"""The log of a watched hand, while the control loop sends and a trial sets its probe in another thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpp_edge.runtime.chaos.watched_hand import WatchedHand
from vpp_edge.runtime.sim.hand import SimHand


class SendingMeanwhile(WatchedHand):
    """Sends a command after every change of an attribute, as the control loop may."""

    opened = False

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if self.opened and name != "count":
            self.send(self.read().vector)


def test_a_probe_may_be_set_between_any_two_commands() -> None:
    with SendingMeanwhile(SimHand(), seconds=1) as hand:
        hand.opened = True
        hand.set_probe(lambda: [1, 2])
        hand.send(hand.read().vector)
        assert hand.count > 2
        np.testing.assert_array_equal(hand.probes[hand.count - 1], [1, 2])
