"""Hands by name: built-in ones, and those of other packages, registered as entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.hands.kinds import hand_from_text, hand_kinds

HAND = """
class OtherHand:
    def __init__(self, address):
        self.name, self.address = "other", address
"""


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a hand of its own."""
    (tmp_path / "other_hands.py").write_text(HAND)
    info = tmp_path / "other_hands-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-hands\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vpp_edge.hands]\nother = other_hands:OtherHand\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("other_package")
def test_another_package_can_add_a_hand() -> None:
    assert set(hand_kinds()) == {"inspire", "leap", "other", "sim", "xhand"}
    hand = hand_from_text("other:/dev/ttyUSB7?speed=3")
    assert (hand.name, hand.address) == ("other", "/dev/ttyUSB7?speed=3")  # type: ignore[attr-defined]


def test_an_unknown_kind_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match=r"unknown hand 'fist:1'; expected one of: inspire, leap, sim, xhand"):
        hand_from_text("fist:1")
