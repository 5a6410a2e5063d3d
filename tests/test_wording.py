"""Numbers in messages agree with their nouns."""

from __future__ import annotations

import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import CameraConfig
from vpp_edge.runtime.cameras.views import cameras_by_view
from vpp_edge.runtime.policy.scripted import options_from_text, scripted_spec
from vpp_edge.wording import counted


@pytest.mark.parametrize(("count", "words"), [(0, "0 cameras"), (1, "1 camera"), (2, "2 cameras")])
def test_only_one_is_singular(count: int, words: str) -> None:
    assert counted(count, "camera") == words


def test_a_noun_may_have_its_own_plural() -> None:
    assert (counted(1, "entry", "entries"), counted(3, "entry", "entries")) == ("1 entry", "3 entries")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_cameras_are_counted(count: int) -> None:
    cameras = [CameraConfig("video", f"{i}.mp4") for i in range(count)]
    with pytest.raises(BadInputError, match=f"^got {counted(count, 'camera')}, but this policy has 2 views: "):
        cameras_by_view(scripted_spec(options_from_text("joints=3")), cameras)
