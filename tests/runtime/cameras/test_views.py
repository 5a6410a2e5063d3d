"""Which camera gives which view: by place, by name, and what is refused because it could be the wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import parsed
from vpp_edge.runtime.cameras.views import cameras_by_view
from vpp_edge.runtime.policy.scripted import options_from_text, scripted_spec

SPEC = scripted_spec(options_from_text("joints=3"))  # sees `static` and `wrist`


def in_order(*texts):
    return [camera.name for camera in cameras_by_view(SPEC, [parsed(text) for text in texts])]


@given(st.permutations(["static=realsense:1", "wrist=realsense:2"]))
def test_named_cameras_may_come_in_any_order(texts):
    assert in_order(*texts) == ["realsense:1", "realsense:2"]


def test_cameras_without_names_are_taken_by_their_place():
    assert in_order("video:a.mp4", "realsense:2") == ["video:a.mp4", "realsense:2"]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["realsense:1", "realsense:2"], "if it is so: --camera static=realsense:1 --camera wrist=realsense:2"),
        (["static=realsense:1", "wrist=realsense:1"], "camera realsense:1 is given for two views"),
        (["realsense", "realsense"], "camera realsense is given for two views"),
        (["static=realsense:1", "realsense:2"], r"cameras for static .*, no view \(realsense:2\)"),
        (["static=realsense:1", "static=realsense:2"], "expected one for each of: static, wrist"),
        (["static=realsense:1", "palm=realsense:2"], "cameras for static .*, palm .*; expected one for each"),
        (["static=realsense:1"], "got 1 cameras, this policy sees 2 views: static, wrist"),
    ],
)
def test_what_could_be_the_wrong_camera_is_refused(texts, words):
    with pytest.raises(BadInputError, match=words):
        in_order(*texts)
