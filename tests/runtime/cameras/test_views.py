"""Which camera delivers which view: by position, by name, and which ambiguous lists are rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import parse_camera
from vpp_edge.runtime.cameras.views import cameras_by_view
from vpp_edge.runtime.policy.scripted import options_from_text, scripted_spec

SPEC = scripted_spec(options_from_text("joints=3"))  # views `static` and `wrist`


def in_order(*texts):
    return [camera.name for camera in cameras_by_view(SPEC, [parse_camera(text) for text in texts])]


@given(st.permutations(["static=realsense:1", "wrist=realsense:2"]))
def test_named_cameras_may_come_in_any_order(texts):
    assert in_order(*texts) == ["realsense:1", "realsense:2"]


def test_cameras_without_views_are_taken_by_position():
    assert in_order("video:a.mp4", "realsense:2") == ["video:a.mp4", "realsense:2"]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["realsense:1", "realsense:2"], "for example: --camera static=realsense:1 --camera wrist=realsense:2"),
        (["static=realsense:1", "wrist=realsense:1"], "camera realsense:1 is given for two views"),
        (["realsense", "realsense"], "camera realsense is given for two views"),
        (["static=realsense:1", "realsense:2"], r"cameras for static .*, no view \(realsense:2\)"),
        (["static=realsense:1", "static=realsense:2"], "expected one for each of: static, wrist"),
        (["static=realsense:1", "palm=realsense:2"], "cameras for static .*, palm .*; expected one for each"),
        (["static=realsense:1"], "got 1 camera, but this policy has 2 views: static, wrist"),
    ],
)
def test_ambiguous_cameras_are_rejected(texts, words):
    with pytest.raises(BadInputError, match=words):
        in_order(*texts)
