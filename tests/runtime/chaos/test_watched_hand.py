"""The log of a watched hand, while the control loop sends and a trial sets its probe in another thread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vpp_edge.runtime.chaos.watched_hand import CommandLog, WatchedHand
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


@pytest.mark.parametrize(
    ("condition", "longest_ms"),
    [
        ("..........", 0),
        ("###.......", 0),
        ("....##.###", 20),
        ("....###.##", 30),
        ("..########", 50),
        ("####......", 0),
    ],
)
def test_the_longest_time_of_a_condition_counts_from_the_injection(condition: str, longest_ms: float) -> None:
    log = CommandLog()
    hand: Any = SimpleNamespace(times_ns=np.arange(1, 11) * 10_000_000)
    log.hand, log.logged, log.injected_ns = hand, 10, 50_000_000
    assert log.longest_ms(np.array([letter == "#" for letter in condition])) == longest_ms
